//! What a guest may reach: the list of the host's capabilities, each in a file of its own.
//!
//! A capability has three stages, and a row in `CAPABILITIES` with a function for each:
//! 1. **link**: its functions become known to the linker, once per host;
//! 2. **validate**: a pipeline's grants are looked at before anything starts;
//! 3. **prepare**: a task's instance gets its part, as granted.
//!
//! To add one: its interface in `wit/`, a file in `capability/`, a row here. A component that imports an interface of no row is
//! refused when it is loaded. What leads to the network goes over named connections ([`crate::connection`]), which the host holds. What is deliberately
//! not here: environment variables, arguments (but the name of a bundled connector), and the network itself. The interfaces of
//! `wasi:sockets` are always linked, because language runtimes import them without need; without a connection that grants one they
//! refuse every address.

pub mod control;
pub mod files;
pub(crate) mod http;
pub(crate) mod http_listener;
pub mod log;
pub mod metrics;
pub(crate) mod object_store;
#[allow(
    clippy::result_large_err,
    reason = "what a server says about a statement is large, and crosses as it is"
)]
pub(crate) mod postgres;
mod schemas;
pub(crate) mod sockets;
mod tls;
mod wasi;

use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;

use crate::component::state::GuestState;
use crate::plan::Grants;

/// One thing that guests may import.
pub(crate) struct Capability {
    /// For people: `connector inspect` lists it.
    pub name: &'static str,
    /// Beginnings of the interface names that belong to it.
    pub interfaces: &'static [&'static str],
    /// Makes its functions known.
    pub link: fn(&mut Linker<GuestState>) -> wasmtime::Result<()>,
    /// What is wrong with the grants, in words; empty: nothing.
    pub validate: fn(&Grants) -> Vec<String>,
    /// Adds to what an instance sees through WASI.
    pub prepare: fn(&Grants, &mut WasiCtxBuilder) -> Result<(), String>,
}

/// Every capability, in the order in which they are linked and prepared.
pub(crate) const CAPABILITIES: &[Capability] = &[
    Capability {
        name: "log",
        interfaces: &["millrace:connect/log@"],
        link: log::link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "control",
        interfaces: &["millrace:connect/control@"],
        link: control::link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "metrics",
        interfaces: &["millrace:connect/metrics@"],
        link: metrics::link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "types",
        interfaces: &["millrace:connect/types@"],
        link: nothing_to_link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "files",
        interfaces: &["wasi:filesystem/"],
        link: nothing_to_link, // with the rest of WASI
        validate: files::validate,
        prepare: files::prepare,
    },
    Capability {
        name: "http",
        interfaces: &["millrace:connect/http@"],
        link: http::link,
        validate: needs_no_grant, // a connection is checked where it is declared
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "postgres",
        interfaces: &["millrace:connect/postgres@"],
        link: postgres::link,
        validate: needs_no_grant, // a connection is checked where it is declared
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "http-listener",
        interfaces: &["millrace:connect/http-listener@"],
        link: http_listener::link,
        validate: needs_no_grant, // a connection is checked where it is declared
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "object store",
        interfaces: &["millrace:connect/object-store@"],
        link: object_store::link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "schemas",
        interfaces: &["millrace:connect/schemas@"],
        link: schemas::link,
        validate: needs_no_grant, // a connection is checked where it is declared
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "clocks, randomness, standard output",
        interfaces: &["wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:io/"],
        link: wasi::link,
        validate: needs_no_grant,
        prepare: nothing_to_prepare,
    },
    Capability {
        name: "sockets",
        interfaces: &["wasi:sockets/"],
        link: sockets::link,      // after the rest of WASI
        validate: needs_no_grant, // a connection is checked where it is declared
        prepare: sockets::prepare,
    },
];

/// Makes every capability known to the linker.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    CAPABILITIES.iter().try_for_each(|capability| (capability.link)(linker))
}

/// What is wrong with a guest's grants, in words; empty: nothing.
#[must_use]
pub fn validate(grants: &Grants) -> Vec<String> {
    CAPABILITIES.iter().flat_map(|capability| (capability.validate)(grants)).collect()
}

/// What an instance sees through WASI, as granted.
pub(crate) fn prepare(grants: &Grants, wasi: &mut WasiCtxBuilder) -> Result<(), String> {
    CAPABILITIES.iter().try_for_each(|capability| (capability.prepare)(grants, wasi))
}

/// The capability that an imported interface belongs to.
pub(crate) fn of_import(interface: &str) -> Option<&'static Capability> {
    CAPABILITIES.iter().find(|c| c.interfaces.iter().any(|start| interface.starts_with(start)))
}

fn needs_no_grant(_: &Grants) -> Vec<String> {
    Vec::new()
}

fn nothing_to_link(_: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    Ok(())
}

fn nothing_to_prepare(_: &Grants, _: &mut WasiCtxBuilder) -> Result<(), String> {
    Ok(())
}
