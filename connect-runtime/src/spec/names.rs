//! Rules for names, and the nearest known one to a misspelt one.

use crate::redrive::RETRY_TOPIC_PREFIX;

/// Kafka's limit for topic names (`Topic.MAX_NAME_LENGTH`).
const TOPIC_NAME_CHARS_MAX: usize = 249;
/// Pipeline and sink names end up in group and transactional ids.
const NAME_CHARS_MAX: usize = 64;
/// Topics that belong to brokers and workers; a pipeline that wrote into one would corrupt their state.
const INTERNAL_TOPICS: &[&str] = &[
    "__consumer_offsets",
    "__transaction_state",
    "__cluster_metadata",
    "__share_group_state",
    "connect-configs",
    "connect-offsets",
    "connect-status",
];

/// What a topic name looks like, for messages.
pub(crate) const TOPIC_SHAPE: &str = "1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`";
/// What a pipeline's or sink's name looks like, for messages.
pub(crate) const NAME_SHAPE: &str = "1 to 64 of the characters a-z, A-Z, 0-9, `_`, `-`";

/// Why `name` can't be a topic, or `Ok` (Kafka's `Topic.validate`).
pub(crate) fn topic(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a topic name can't be empty");
    }
    if name == "." || name == ".." {
        return Err("a topic can't be called `.` or `..`");
    }
    if name.len() > TOPIC_NAME_CHARS_MAX {
        return Err("the topic name is too long");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Err("the topic name has a character that Kafka doesn't allow");
    }
    if is_internal(name) {
        return Err("this topic belongs to the cluster itself");
    }
    Ok(())
}

/// True for a topic that belongs to brokers and workers.
pub(crate) fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name) || name.starts_with(RETRY_TOPIC_PREFIX)
}

/// True for a legal name of a pipeline or a sink.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// The known name that `name` was most likely meant to be; ties go to the first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let tolerated = (name.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_follow_kafkas_rule() {
        for good in ["a", "orders", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(topic(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", "connect-offsets", &"x".repeat(250)] {
            assert!(topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nearest_is_near() {
        let known = ["file-source", "file-sink", "filter", "mask"];
        assert_eq!(nearest("file-sorce", known), Some("file-source"));
        assert_eq!(nearest("Mask", known), Some("mask"));
        assert_eq!(nearest("fliter", known), Some("filter"));
        assert_eq!(nearest("postgres", known), None);
        assert_eq!(nearest("", known), None);
    }
}
