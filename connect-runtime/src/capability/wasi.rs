//! WASI 0.2: clocks, randomness, standard output; folders come from [`super::files`], addresses from [`super::sockets`].
//!
//! Files are read and written on tokio's blocking threads, so that a slow disk holds up one task and not the thread that it
//! shares with the others.

use wasmtime::component::Linker;

use crate::component::state::GuestState;

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}
