//! Connectors that come, change and go while the worker runs, as Kafka Connect has them.
//!
//! | file | what is in it |
//! |---|---|
//! | [`ownership`] | who runs what, when there are several workers |

pub mod ownership;
