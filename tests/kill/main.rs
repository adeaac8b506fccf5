//! SIGKILL at random moments, over producers with `acks=all`, over a running pipeline and over workers that share some: no
//! acknowledged record is lost, none is there twice, each partition keeps its order. What goes to an HTTP server may come twice, under
//! the same key.
//!
//! The moments come from a seed, which is printed: `MILLRACE_SEED=N` tries the same ones again. The operating system's
//! own timing is not part of the seed; `cargo xtask sim` replays exactly, and adds power cuts.

mod http;
mod network;
mod pipeline;
mod producers;
mod workers;

/// Kills in each of the tests.
const KILLS: u32 = 100;
