//! One member of a classic group.

use crate::coordinators::Token;
use crate::group::event::{Join, JoinedMember};
use crate::group::records::StoredMember;
use bytes::Bytes;

/// A member, from its first join until it leaves, is expired or is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The id the coordinator gave it.
    pub(crate) id: String,
    /// `group.instance.id` if it is static.
    pub(crate) instance: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it connected from.
    pub(crate) client_host: String,
    /// How long it may stay silent.
    pub(crate) session_timeout_ms: i32,
    /// How long a rebalance waits for it.
    pub(crate) rebalance_timeout_ms: i32,
    /// Protocols it can use with its metadata for each, the preferred first.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// What it has to do in the current generation.
    pub(crate) assignment: Bytes,
    /// Its join that waits for the others.
    pub(crate) awaiting_join: Option<Token>,
    /// Its sync that waits for the leader.
    pub(crate) awaiting_sync: Option<Token>,
    /// It has not been through a rebalance yet and so has no id to send heartbeats with.
    pub(crate) is_new: bool,
}

impl Member {
    /// The member that `join` asks to become, under `id`.
    pub(crate) fn new(id: String, join: &Join, token: Token) -> Self {
        Self {
            id,
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        }
    }

    /// The member as it comes back from the disk. Only its metadata for the group's protocol was stored.
    pub(crate) fn restored(stored: StoredMember, protocol: Option<&str>) -> Self {
        Self {
            id: stored.id,
            instance: stored.instance,
            client_id: stored.client_id,
            client_host: stored.client_host,
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: vec![(protocol.unwrap_or_default().to_owned(), stored.subscription)],
            assignment: stored.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// The member as it goes to the disk, with `assignment`.
    pub(crate) fn stored(&self, protocol: Option<&str>, assignment: Bytes) -> StoredMember {
        StoredMember {
            id: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// Its metadata for `protocol`, empty if it has none.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Its line in the list the leader gets.
    pub(crate) fn joined(&self, protocol: Option<&str>) -> JoinedMember {
        JoinedMember {
            id: self.id.clone(),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// Whether it can use `protocol`.
    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}
