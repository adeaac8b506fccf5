//! Fields of a JSON document, found by path and changed in place.
//!
//! A transform names fields by [`Path`]; [`Fields`] finds all of them in one pass over the text; [`splice`] puts other text
//! where they stand. Whatever isn't touched stays byte for byte as it was: numbers keep their digits, objects their order, and
//! a document its white space. Nothing is built for the parts between.

mod find;
mod members;
mod path;
mod splice;

pub use self::find::{Fields, Found, NotJson, document};
pub use self::members::{Member, members, retain};
pub use self::path::{Path, PathError, Step};
pub use self::splice::{Edit, splice};
