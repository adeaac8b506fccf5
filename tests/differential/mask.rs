//! What may differ between two clusters that answer alike: ids they made up, times, ports, and the words of error messages.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

/// Names for the ids of one cluster, in the order of their appearance.
#[derive(Default)]
pub(crate) struct Mask {
    ids: BTreeMap<String, usize>,
}

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").expect("a pattern")
});
/// Milliseconds since 1970, between 2017 and 2033.
static TIME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(1[5-9][0-9]{11})\b").expect("a pattern"));
static MESSAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"error_message: (None|Some\(\s*"(\\.|[^"\\])*",\s*\))"#).expect("a pattern")
});
static CLUSTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"cluster_id: (Some\(\s*)?"[A-Za-z0-9_-]{22}"(,\s*\))?"#).expect("a pattern")
});
/// Formatting a Kafka cluster writes this one down as a dynamic default (KIP-966).
static MIN_ISR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?s)(name: "min.insync.replicas".{1,600}?config_source): [345]"#).expect("a pattern")
});
/// A refused batch: whether the log's start is told depends on which part of Kafka refuses it.
static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)(error_code: [1-9][0-9]*,\s+base_offset: -1,.{1,600}?log_start_offset): -?[0-9]+")
        .expect("a pattern")
});
/// Nothing and an empty list mean the same here; Kafka has both.
static ABORTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"aborted_transactions: (None|Some\(\s*\[\],\s*\))").expect("a pattern"));
/// Of a batch that is refused as a whole Millrace says so at its first record, too.
static RECORD_ERRORS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)record_errors: \[(\]|.*?\n {12,32}\])").expect("a pattern"));
/// Both listen on the loopback device.
static HOST: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"host: "127[0-9.]+""#).expect("a pattern"));
static PORT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"port: [0-9]+").expect("a pattern"));
static PRODUCER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"producer_id: ProducerId\(\s*[0-9]+,\s*\)").expect("a pattern"));
/// The epoch with which a consumer group begins is a cluster's own; what follows is asked relative to it.
static GROUP_EPOCH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"((?:member|group|assignment)_epoch): [1-9][0-9]*").expect("a pattern"));
/// Said by the crate for every struct; no cluster adds fields of its own.
static NO_FIELDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\n\s*unknown_tagged_fields: \{\},").expect("a pattern"));
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

impl Mask {
    /// The text of an answer without what may differ.
    pub(crate) fn shown(&mut self, answer: &str) -> String {
        let ids = &mut self.ids;
        let answer = UUID.replace_all(answer, |found: &Captures<'_>| {
            let id = &found[0];
            if id == NO_ID {
                return "no id".to_owned();
            }
            let next = ids.len() + 1;
            format!("id {}", ids.entry(id.to_owned()).or_insert(next))
        });
        let answer = NO_FIELDS.replace_all(&answer, "");
        let answer = TIME.replace_all(&answer, "a time");
        let answer = MESSAGE.replace_all(&answer, "error_message: any");
        let answer = PRODUCER.replace_all(&answer, "producer_id: one of its own");
        let answer = GROUP_EPOCH.replace_all(&answer, "$1: one of its own");
        let answer = CLUSTER.replace_all(&answer, "cluster_id: its own");
        let answer = MIN_ISR.replace_all(&answer, "$1: its own");
        let answer = REFUSED.replace_all(&answer, "$1: any");
        let answer = ABORTED.replace_all(&answer, "aborted_transactions: none");
        let answer = RECORD_ERRORS.replace_all(&answer, "record_errors: any");
        let answer = HOST.replace_all(&answer, "host: its own");
        PORT.replace_all(&answer, "port: its own").into_owned()
    }
}

#[test]
fn only_what_may_differ_is_masked() {
    let mut mask = Mask::default();
    let answer = "id: 12345678-aaaa-bbbb-cccc-123456789012, again: 12345678-aaaa-bbbb-cccc-123456789012, none: \
                  00000000-0000-0000-0000-000000000000, at: 1700000000000, error_code: 7,\n\
                  error_message: Some(\n    \"no \\\"such\\\" thing\",\n),\nport: 9092";
    assert_eq!(
        mask.shown(answer),
        "id: id 1, again: id 1, none: no id, at: a time, error_code: 7,\nerror_message: any,\nport: its own"
    );
}
