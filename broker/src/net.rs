//! Sockets and frames: who connects, what they send, in which order they are answered.
//!
//! Rooms: `listener` (accepting, and the limits on how many), `creation` (and how fast), `connection` (one client: read, start,
//! answer in order), `reader` (frames out of a byte stream, cancel-safe), `frame` (a response as a chain of pieces),
//! `transport` (a socket or a pipe, and how a file gets into it), `budget` (how many bytes may be held for all clients
//! together), `log_limit` (how many lines clients may cause in the broker's log).
//!
//! A connection is one task. It never trusts a length, never panics on input and never holds more than its limits; what
//! a client does wrong costs that client its connection and the log one line a second.

pub(crate) mod budget;
pub(crate) mod connection;
mod creation;
pub(crate) mod frame;
pub(crate) mod listener;
pub(crate) mod log_limit;
pub(crate) mod reader;
pub(crate) mod transport;
