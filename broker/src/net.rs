//! Sockets and frames: who connects, what they send, in which order they are answered.
//!
//! Rooms: `listener` (accepting, and the limits on how many), `connection` (one client: read, start, answer in order),
//! `reader` (frames out of a byte stream, cancel-safe), `frame` (a response as a chain of byte strings), `budget` (how
//! many bytes may be held for all clients together).
//!
//! A connection is one task. It never trusts a length, never panics on input and never holds more than its limits; what
//! a client does wrong costs that client its connection and the log one line.

pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod listener;
pub(crate) mod reader;
