//! What a topic may be called (Kafka's `org.apache.kafka.common.internals.Topic`).

/// Longest name: a folder `<name>-<partition>` must fit in a file name.
pub(crate) const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Topics that the broker itself writes.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// See [`CONSUMER_OFFSETS`].
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";
/// The metadata log's folder is named like a topic's; no topic may take the name.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether the broker itself writes this topic.
pub(crate) fn is_internal(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE
}

/// Why `name` can't be a topic's name.
pub(crate) fn refuse(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a topic name must not be empty".to_owned());
    }
    if name == "." || name == ".." {
        return Some(format!("topic name {name:?} would be a folder of its own meaning"));
    }
    if name.len() > TOPIC_NAME_LENGTH_MAX {
        let len = name.len();
        return Some(format!(
            "topic name is {len} characters long; at most {TOPIC_NAME_LENGTH_MAX} are allowed"
        ));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Some(format!(
            "topic name {name:?} has characters other than ASCII letters, digits, '.', '_' and '-'"
        ));
    }
    if name == CLUSTER_METADATA {
        return Some(format!("topic name {name} is taken by the metadata log"));
    }
    None
}

/// Whether two names collide where metrics replace `.` by `_`.
pub(crate) fn collides(a: &str, b: &str) -> bool {
    a != b && a.len() == b.len() && a.bytes().map(dotless).eq(b.bytes().map(dotless))
}

fn dotless(byte: u8) -> u8 {
    if byte == b'.' { b'_' } else { byte }
}
