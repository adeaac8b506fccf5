//! Rust types and call stubs derived from `wit/`.
//!
//! The world `full` has every export; which of them a component has is found out when it is loaded ([`super::load`]), one
//! interface at a time. The types of `wit/types.wit` are therefore the same for sources, sinks and transforms.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    rustdoc::all,
    reason = "derived code; it marks its types as safe to lift and lower"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "millrace:connect/full",
    imports: {
        "millrace:connect/control.sleep": async,
        "millrace:connect/http.send": async,
        "millrace:connect/http.send-all": async,
        "millrace:connect/postgres.[static]session.open": async,
        "millrace:connect/postgres.[method]session.run": async,
        "millrace:connect/postgres.[method]session.rows-of": async,
        "millrace:connect/postgres.[method]session.query": async,
        "millrace:connect/postgres.[method]session.receive": async,
        "millrace:connect/postgres.[method]session.batch": async,
        "millrace:connect/postgres.[method]session.copy": async,
        "millrace:connect/postgres.[method]session.copy-write": async,
        "millrace:connect/postgres.[method]session.copy-read": async,
        "millrace:connect/postgres.[method]session.copy-finish": async,
        "millrace:connect/postgres.[method]session.copy-abort": async,
        "millrace:connect/object-store.get": async,
        "millrace:connect/object-store.head": async,
        "millrace:connect/object-store.list": async,
        "millrace:connect/object-store.list-uploads": async,
        "millrace:connect/object-store.apply": async,
        "millrace:connect/schemas.get": async,
        "millrace:connect/schemas.latest": async,
        "millrace:connect/schemas.register": async,
        "millrace:connect/schemas.find": async,
        "millrace:connect/http-listener.[method]listener.take": async,
        "millrace:connect/http-listener.[static]listener.open": async,
    },
    with: {
        "millrace:connect/http-listener.listener": crate::capability::http_listener::Listener,
        "millrace:connect/postgres.session": crate::capability::postgres::Held,
    },
    exports: { default: async },
    anyhow: false,
});
