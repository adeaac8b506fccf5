//! The registry over HTTP, with its topic in a broker of this process.

// A test says what it expects by failing; helpers here are part of tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod calls;
mod deletes;
mod hostile;
mod settings;
mod support;
mod topic;
