//! The requests, by subject.

mod admin;
mod consumer_groups;
mod groups;
mod records;
mod security;
mod settings;
mod topics;
mod transactions;

use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::protocol::StrBytes;

use crate::both::Both;

/// Every case, in an order in which later ones may use the topics of earlier ones.
pub(crate) fn all(both: &mut Both) {
    security::ask(both);
    admin::ask(both);
    topics::ask(both);
    records::ask(both);
    groups::ask(both);
    consumer_groups::ask(both);
    settings::ask(both);
    transactions::ask(both);
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A new topic on both.
fn create(both: &mut Both, name: &str, partitions: i32) {
    let wanted = CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    both.same(&format!("create {name}"), [7], |_| request.clone());
}
