//! Calls that are answered otherwise than by Kafka Connect, with the reason.

/// The call as `alike.rs` makes it, and why.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    (
        "GET /connector-plugins?connectorsOnly=false",
        "there are transforms; predicates and converters are no plugins here",
    ),
    (
        "GET /connector-plugins/$source/config",
        "the settings, and so their kinds and groups, are the component's own",
    ),
    ("PUT /connector-plugins/nobody/config/validate", "500 with a list of classes there, 404 here"),
    (
        "POST /connectors?nameless",
        "the same code; the message names what is missing, the name, and not the class",
    ),
    ("POST /connectors?list", "500 for a body of another form there, 400 here"),
    (
        "PATCH /connectors/sink/offsets",
        "the message reminds of positions that a sink's target holds itself, which Kafka's FileStreamSink has not",
    ),
    ("DELETE /connectors/sink/offsets", "the same"),
    ("PUT /admin/loggers/root?scope=cluster", "levels are changed on one worker at a time"),
];
