//! WASI 0.2: clocks, randomness, standard output; folders come from [`super::files`], addresses are refused.
//!
//! Files are read and written on tokio's blocking threads, so that a slow disk holds up one task and not the thread that it
//! shares with the others.

use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;

use crate::component::state::GuestState;
use crate::plan::Grants;

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

pub(super) fn prepare(_: &Grants, wasi: &mut WasiCtxBuilder) -> Result<(), String> {
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi.socket_addr_check(|_, _| Box::pin(async { false }));
    Ok(())
}
