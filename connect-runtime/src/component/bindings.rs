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
        "millrace:connect/http-listener.[method]listener.take": async,
        "millrace:connect/http-listener.[static]listener.open": async,
    },
    with: { "millrace:connect/http-listener.listener": crate::capability::http_listener::Listener },
    exports: { default: async },
    anyhow: false,
});
