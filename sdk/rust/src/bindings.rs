//! What `wit-bindgen` derives from `wit/`: one module per interface that a component can export.
//!
//! A component exports [`connector`] and one of [`source`], [`sink`], [`transform`]; each has a small world of its own here,
//! because a world's exports are all or nothing, and the linker joins the worlds that a component uses. Types and imports are
//! derived once, in [`connector`]; the others use those. Nothing else in the SDK is unsafe, and authors don't see this module:
//! [`crate::export_source!`] and its sisters join it to their type.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "derived code: it lifts and lowers arguments across the sandbox"
)]

/// The interface `connector`, the imports, and the types of all worlds.
pub mod connector {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-connector;
            world exports-connector {
                include millrace:connect/base@0.1.0;
                export millrace:connect/connector@0.1.0;
            }
        ",
        world: "millrace:sdk-connector/exports-connector",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        default_bindings_module: "millrace_sdk::bindings::connector",
        export_macro_name: "export_connector_interface",
        generate_all,
    });
    pub use export_connector_interface as export;
}

/// The interface `http`; a component imports it if it uses [`crate::http`].
pub mod http {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-http;
            world uses-http {
                import millrace:connect/http@0.1.0;
            }
        ",
        world: "millrace:sdk-http/uses-http",
        generate_all,
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
}

/// The interface `postgres`; a component imports it if it uses [`crate::postgres`].
pub mod postgres {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-postgres;
            world uses-postgres {
                import millrace:connect/postgres@0.1.0;
            }
        ",
        world: "millrace:sdk-postgres/uses-postgres",
        generate_all,
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
}

/// The interface `object-store`; a component imports it if it uses [`crate::object_store`].
pub mod object_store {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-object-store;
            world uses-object-store {
                import millrace:connect/object-store@0.1.0;
            }
        ",
        world: "millrace:sdk-object-store/uses-object-store",
        additional_derives: [PartialEq, Eq],
        generate_all,
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
}

/// The interface `http-listener`; a component imports it if it uses [`crate::http_listener`].
pub mod http_listener {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-http-listener;
            world uses-http-listener {
                import millrace:connect/http-listener@0.1.0;
            }
        ",
        world: "millrace:sdk-http-listener/uses-http-listener",
        generate_all,
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
}

/// The interface `schemas`; a component imports it if it uses [`crate::schemas`].
pub mod schemas {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-schemas;
            world uses-schemas {
                import millrace:connect/schemas@0.1.0;
            }
        ",
        world: "millrace:sdk-schemas/uses-schemas",
        additional_derives: [PartialEq, Eq],
        generate_all,
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
}

/// The interface `diagnosis`.
pub mod diagnosis {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-diagnosis;
            world exports-diagnosis {
                export millrace:connect/diagnosis@0.1.0;
            }
        ",
        world: "millrace:sdk-diagnosis/exports-diagnosis",
        pub_export_macro: true,
        default_bindings_module: "millrace_sdk::bindings::diagnosis",
        export_macro_name: "export_diagnosis_interface",
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
    pub use export_diagnosis_interface as export;
}

/// The interface `source`.
pub mod source {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-source;
            world exports-source {
                export millrace:connect/source@0.1.0;
            }
        ",
        world: "millrace:sdk-source/exports-source",
        pub_export_macro: true,
        default_bindings_module: "millrace_sdk::bindings::source",
        export_macro_name: "export_source_interface",
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
    pub use export_source_interface as export;
}

/// The interface `sink`.
pub mod sink {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-sink;
            world exports-sink {
                export millrace:connect/sink@0.1.0;
            }
        ",
        world: "millrace:sdk-sink/exports-sink",
        pub_export_macro: true,
        default_bindings_module: "millrace_sdk::bindings::sink",
        export_macro_name: "export_sink_interface",
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
    pub use export_sink_interface as export;
}

/// The interface `transform`.
pub mod transform {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package millrace:sdk-transform;
            world exports-transform {
                export millrace:connect/transform@0.1.0;
            }
        ",
        world: "millrace:sdk-transform/exports-transform",
        pub_export_macro: true,
        default_bindings_module: "millrace_sdk::bindings::transform",
        export_macro_name: "export_transform_interface",
        with: { "millrace:connect/types@0.1.0": crate::bindings::connector::millrace::connect::types },
    });
    pub use export_transform_interface as export;
}
