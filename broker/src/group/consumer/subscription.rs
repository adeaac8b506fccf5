//! Which topics a member's subscription comes to: names, and a pattern that the coordinator holds against all topics.
//!
//! Patterns are RE2's in Kafka. Here the crate `regex-lite` stands in, which has the same guarantee (time linear in the
//! text) and nearly the same syntax but for Unicode, which no topic name has. Patterns match whole names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use regex_lite::{Regex, RegexBuilder};
use uuid::Uuid;

use super::member::Member;
use super::{ConsumerGroup, Refused};
use crate::controller::Image;

/// How large a pattern may become in memory; past it INVALID_REGULAR_EXPRESSION.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a pattern came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The topics it matches.
    pub(crate) topics: BTreeSet<String>,
    /// When that was looked at, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// A pattern, ready to match whole names.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Refused> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        let message = format!("pattern {pattern:?} is not a regular expression: {error}");
        Refused::new(ResponseError::InvalidRegularExpression, message)
    })
}

/// The names that a member subscribes to, as far as its pattern was resolved.
pub(crate) fn topics_of<'a>(group: &'a ConsumerGroup, member: &'a Member) -> impl Iterator<Item = &'a str> {
    let resolved = member.pattern.as_ref().and_then(|pattern| group.patterns.get(pattern));
    let matched = resolved.into_iter().flat_map(|resolved| &resolved.topics);
    member.topics.iter().chain(matched).map(String::as_str)
}

/// The subscribed topics that exist: id and number of partitions by name.
pub(crate) fn known_topics<'a>(group: &'a ConsumerGroup, image: &Image) -> BTreeMap<&'a str, (Uuid, i32)> {
    let topics = group.subscribed_topics().into_iter();
    topics
        .filter_map(|name| {
            let topic = image.topic(name)?;
            Some((name, (topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))))
        })
        .collect()
}

/// Holds all subscriptions against `image`: patterns first, then the topics they all come to. True if anything is
/// different from what the targets were made for.
pub(crate) fn refresh(group: &mut ConsumerGroup, image: &Arc<Image>, now_ms: i64) -> bool {
    let moved_on = group.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, image));
    group.forget_unused_patterns();
    let wanted: BTreeSet<String> =
        group.members.values().filter_map(|member| member.pattern.clone()).collect();
    let mut changed = false;
    for pattern in wanted {
        let before = group.patterns.get(&pattern);
        if before.is_some() && !moved_on {
            continue;
        }
        // A pattern that was accepted once compiles again; one that a Kafka wrote may not, and matches nothing.
        let topics = compile(&pattern).map(|regex| matches(&regex, image)).unwrap_or_default();
        if before.is_none_or(|before| before.topics != topics) {
            changed = true;
            group.patterns.insert(pattern, Arc::new(Resolved { topics, at_ms: now_ms }));
        }
    }
    group.seen = Some(image.clone());
    let hash = hash(&known_topics(group, image));
    changed |= hash != group.metadata_hash;
    group.metadata_hash = hash;
    changed
}

fn matches(regex: &Regex, image: &Image) -> BTreeSet<String> {
    let names = image.topics.keys().filter(|name| regex.is_match(name));
    names.map(|name| name.to_string()).collect()
}

/// A number that changes with the topics, their ids and their numbers of partitions (FNV-1a); 0 for no topics. It is
/// stored, so that a restart alone is no reason for a new target.
fn hash(topics: &BTreeMap<&str, (Uuid, i32)>) -> i64 {
    if topics.is_empty() {
        return 0;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, (id, partitions)) in topics {
        add(name.as_bytes());
        add(&[0]);
        add(id.as_bytes());
        add(&partitions.to_be_bytes());
    }
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let regex = compile("a|b.").expect("a pattern");
        assert!(regex.is_match("a") && regex.is_match("bc"));
        assert!(!regex.is_match("ab") && !regex.is_match("abc"));
        assert!(compile("(?i)ORDERS-[[:digit:]]+").expect("a pattern").is_match("orders-12"));
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        for pattern in ["(", "[z-a]", "(a{1000}){1000}", "(?=a)"] {
            let refused = compile(pattern).expect_err(pattern);
            assert_eq!(refused.error, ResponseError::InvalidRegularExpression);
        }
    }

    #[test]
    fn the_hash_sees_ids_and_partitions() {
        let one = hash(&BTreeMap::from([("a", (Uuid::from_u128(1), 3))]));
        assert_eq!(one, hash(&BTreeMap::from([("a", (Uuid::from_u128(1), 3))])));
        assert_ne!(one, hash(&BTreeMap::from([("a", (Uuid::from_u128(2), 3))])));
        assert_ne!(one, hash(&BTreeMap::from([("a", (Uuid::from_u128(1), 4))])));
        assert_eq!(hash(&BTreeMap::new()), 0);
    }
}
