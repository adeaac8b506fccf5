//! Kafka's bytes: frames, request guards, record batches and their compression.
//!
//! What flows between a socket and a log segment is described here once, for the broker and for the client.
//! A record batch is opaque: its 61-byte header ([`batch`]) is read and patched in place, and its records
//! ([`record`]) are decoded only by whoever needs them. Everything that comes from outside is measured against
//! the bytes that are really there before memory is asked for.
//!
//! Deliberately absent: sockets (any async stream will do), clocks, the meaning of a request. Message structs come from the crate
//! `kafka-protocol`; this crate makes them safe to decode and leaves its lossy record codec unused.
//!
//! Rooms:
//! - [`ids`]: newtypes for offsets, epochs, brokers and producers
//! - [`frame`]: reading a frame with a limit, writing one as a chain of byte strings
//! - [`guard`]: the walk over a message that must succeed before it is decoded
//! - [`batch`]: the header of a record batch, splitting a byte string into batches, CRC
//! - [`record`]: the records inside: builder, decoder, control records
//! - [`compression`]: the five codecs with a limit on what they may put out
//! - [`varint`]: zigzag and unsigned variable-length integers with overflow checks

pub mod batch;
pub mod compression;
pub mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod guard;
pub mod ids;
pub mod record;
pub mod varint;
