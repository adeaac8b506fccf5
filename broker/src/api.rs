//! THE table of APIs: key, versions, handler. One file per request under `api/`.
//!
//! A request's way: header read > row found > body checked by the guard (no length in it reaches past its end) >
//! decoded > handled > encoded. Handlers translate between the wire and the rest of the broker; they decide nothing
//! and keep nothing.
//!
//! What can't be answered (a key or version that is not in the table, a body that is not what its version says) costs
//! the client its connection, as in Kafka; only ApiVersions has an answer for every version.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod broker_loggers;
mod commit;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod renew_delegation_token;
mod reply;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod throttle;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, StrBytes};
use millrace_log::Piece;
use millrace_wire::frame::Frame;
use millrace_wire::guard;
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::net::budget::Share;
use crate::quota::metered;
use crate::shared::Shared;

/// A future that owns what it needs.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a request is not answered and its connection closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No row of the table has this key.
    #[error("request with api key {key} version {version}, which this broker does not serve")]
    UnknownKey { key: i16, version: i16 },
    /// The row doesn't have this version.
    #[error("{api:?} request of version {version}; versions {min} to {max} are served")]
    UnsupportedVersion { api: ApiKey, version: i16, min: i16, max: i16 },
    /// The frame is not a request.
    #[error("malformed request: {0}")]
    Guard(#[from] guard::Error),
    /// The body is not what its version says.
    #[error("malformed {api:?} request of version {version}: {reason}")]
    Body { api: ApiKey, version: i16, reason: String },
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address as Kafka writes it in group descriptions: `/127.0.0.1`.
    pub(crate) host: Arc<str>,
}

/// A request's surroundings.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub(crate) broker: Arc<Shared>,
    pub(crate) api_key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<StrBytes>,
    pub(crate) client_host: Arc<str>,
}

/// What goes back to the client, and for how long nothing more is read from its connection after that.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) mute: Duration,
}

/// See [`Reply`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// A response, and the room it takes until it is written, if that is counted.
    Frame(Frame, Option<Share>),
    /// A response whose records may still be in their files, and the room that those in memory take.
    Pieces(Vec<Piece>, Share),
    /// Nothing: Produce with `acks=0`.
    Nothing,
    /// Nothing, ever again: the connection is closed.
    Close,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, mute: Duration::ZERO }
    }
}

impl Reply {
    /// The same, with the connection muted after it.
    fn muting(self, mute: Duration) -> Self {
        Self { mute, ..self }
    }
}

/// A request that was started.
pub(crate) struct Started {
    pub(crate) api: ApiKey,
    pub(crate) outcome: Outcome,
}

/// How a started request goes on.
pub(crate) enum Outcome {
    /// Finished already.
    Done(Reply),
    /// Finishes later. What must happen in the order of the requests has happened.
    Later(BoxFuture<Reply>),
}

type Handler = fn(RequestContext, Bytes) -> Result<Outcome, Error>;

/// A row of the table.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    handler: Handler,
}

/// A row whose handler is `async fn(&RequestContext, Request) -> Response`. With `untold`, a response that has no field
/// for the time it was throttled;
/// with `mutating`, a handler that also says how long the client's quota of mutations makes it wait.
macro_rules! api {
    ($key:ident, $min:literal..=$max:literal, $handler:path) => {
        api!($key, $min..=$max, $handler, |response, mute| response.throttle_time_ms = throttle::in_ms(mute))
    };
    ($key:ident, $min:literal..=$max:literal, $handler:path, untold) => {
        api!($key, $min..=$max, $handler, |_response, _mute| ())
    };
    ($key:ident, $min:literal..=$max:literal, $handler:path, mutating) => {
        api!($key, $min..=$max, $handler, |answer| answer, |response, mute| response.throttle_time_ms =
            throttle::in_ms(mute))
    };
    ($key:ident, $min:literal..=$max:literal, $handler:path, |$response:pat_param, $mute:pat_param| $tell:expr) => {
        api!($key, $min..=$max, $handler, |answer| (answer, Duration::ZERO), |$response, $mute| $tell)
    };
    (
        $key:ident, $min:literal..=$max:literal, $handler:path,
        |$answer:ident| $split:expr, |$response:pat_param, $mute:pat_param| $tell:expr
    ) => {
        Api {
            key: ApiKey::$key,
            min: $min,
            max: $max,
            handler: |context, body| {
                let started = Instant::now();
                let request = decode(&context, body)?;
                let decoding = started.elapsed();
                Ok(Outcome::Later(Box::pin(async move {
                    let ($answer, busy) = metered($handler(&context, request)).await;
                    let (mut answer, at_least) = $split;
                    let wait = context.throttle_at_least(at_least, busy + decoding, None);
                    let ($response, $mute) = (&mut answer, wait);
                    $tell;
                    reply::encode(&context, &answer).muting(wait)
                })))
            },
        }
    };
}

/// Every API that is served, by key.
pub(crate) static APIS: &[Api] = &[
    Api { key: ApiKey::Produce, min: 3, max: 13, handler: produce::start },
    Api { key: ApiKey::Fetch, min: 4, max: 18, handler: fetch::start },
    api!(ListOffsets, 1..=10, list_offsets::handle),
    api!(Metadata, 0..=13, metadata::handle),
    api!(OffsetCommit, 2..=9, offset_commit::handle),
    api!(OffsetFetch, 1..=9, offset_fetch::handle),
    api!(FindCoordinator, 0..=6, find_coordinator::handle),
    api!(JoinGroup, 0..=9, join_group::handle),
    api!(Heartbeat, 0..=4, heartbeat::handle),
    api!(LeaveGroup, 0..=5, leave_group::handle),
    api!(SyncGroup, 0..=5, sync_group::handle),
    api!(DescribeGroups, 0..=6, describe_groups::handle),
    api!(ListGroups, 0..=5, list_groups::handle),
    api!(SaslHandshake, 0..=1, sasl_handshake::handle, untold),
    Api { key: ApiKey::ApiVersions, min: 0, max: 4, handler: api_versions::start },
    api!(CreateTopics, 2..=7, create_topics::handle, mutating),
    api!(DeleteTopics, 1..=6, delete_topics::handle, mutating),
    api!(DeleteRecords, 0..=2, delete_records::handle),
    api!(InitProducerId, 0..=5, init_producer_id::handle),
    api!(OffsetForLeaderEpoch, 2..=4, offset_for_leader_epoch::handle),
    api!(AddPartitionsToTxn, 0..=5, add_partitions_to_txn::handle),
    api!(AddOffsetsToTxn, 0..=4, add_offsets_to_txn::handle),
    api!(EndTxn, 0..=5, end_txn::handle),
    Api { key: ApiKey::WriteTxnMarkers, min: 1, max: 1, handler: write_txn_markers::start },
    api!(TxnOffsetCommit, 0..=5, txn_offset_commit::handle),
    api!(DescribeAcls, 1..=3, describe_acls::handle),
    api!(CreateAcls, 1..=3, create_acls::handle),
    api!(DeleteAcls, 1..=3, delete_acls::handle),
    api!(DescribeConfigs, 1..=4, describe_configs::handle),
    api!(AlterConfigs, 0..=2, alter_configs::handle),
    api!(AlterReplicaLogDirs, 1..=2, alter_replica_log_dirs::handle),
    api!(DescribeLogDirs, 1..=4, describe_log_dirs::handle),
    api!(SaslAuthenticate, 0..=2, sasl_authenticate::handle, untold),
    api!(CreatePartitions, 0..=3, create_partitions::handle, mutating),
    api!(CreateDelegationToken, 1..=3, create_delegation_token::handle),
    api!(RenewDelegationToken, 1..=2, renew_delegation_token::handle),
    api!(ExpireDelegationToken, 1..=2, expire_delegation_token::handle),
    api!(DescribeDelegationToken, 1..=3, describe_delegation_token::handle),
    api!(DeleteGroups, 0..=2, delete_groups::handle),
    api!(ElectLeaders, 0..=2, elect_leaders::handle),
    api!(IncrementalAlterConfigs, 0..=1, incremental_alter_configs::handle),
    api!(AlterPartitionReassignments, 0..=1, alter_partition_reassignments::handle),
    api!(ListPartitionReassignments, 0..=0, list_partition_reassignments::handle),
    api!(OffsetDelete, 0..=0, offset_delete::handle),
    api!(DescribeClientQuotas, 0..=1, describe_client_quotas::handle),
    api!(AlterClientQuotas, 0..=1, alter_client_quotas::handle),
    api!(DescribeUserScramCredentials, 0..=0, describe_user_scram_credentials::handle),
    api!(AlterUserScramCredentials, 0..=0, alter_user_scram_credentials::handle),
    api!(DescribeQuorum, 0..=2, describe_quorum::handle, untold),
    api!(UpdateFeatures, 0..=2, update_features::handle),
    api!(DescribeCluster, 0..=2, describe_cluster::handle),
    api!(DescribeProducers, 0..=0, describe_producers::handle),
    api!(UnregisterBroker, 0..=0, unregister_broker::handle),
    api!(DescribeTransactions, 0..=0, describe_transactions::handle),
    api!(ListTransactions, 0..=2, list_transactions::handle),
    api!(ConsumerGroupHeartbeat, 0..=1, consumer_group_heartbeat::handle),
    api!(ConsumerGroupDescribe, 0..=1, consumer_group_describe::handle),
    api!(ListConfigResources, 0..=1, list_config_resources::handle),
    api!(DescribeTopicPartitions, 0..=0, describe_topic_partitions::handle),
];

/// Whether a frame is a Produce request (as far as its key says).
pub(crate) fn is_produce(frame: &[u8]) -> bool {
    frame.first_chunk::<2>() == Some(&(ApiKey::Produce as i16).to_be_bytes())
}

/// Starts a request: everything that must happen in the order of a connection's requests has happened when this
/// returns.
///
/// # Errors
/// The request can't be answered; its connection is to be closed.
pub(crate) fn start(shared: &Arc<Shared>, peer: &Peer, frame: Bytes) -> Result<Started, Error> {
    let (header, body) = guard::request_header(&frame)?;
    let (key, version) = (header.api_key, header.api_version);
    let Some(api) = ApiKey::try_from(key).ok().and_then(|key| APIS.iter().find(|api| api.key == key)) else {
        return Err(Error::UnknownKey { key, version });
    };
    let context = RequestContext {
        broker: shared.clone(),
        api_key: api.key,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.and_then(|id| StrBytes::from_utf8(id).ok()),
        client_host: peer.host.clone(),
    };
    if version < api.min || version > api.max {
        if api.key == ApiKey::ApiVersions {
            return Ok(Started { api: api.key, outcome: Outcome::Done(api_versions::unsupported(&context)) });
        }
        return Err(Error::UnsupportedVersion { api: api.key, version, min: api.min, max: api.max });
    }
    guard::request(key, version, &body)?;
    let span = debug_span!("request", api = ?api.key, version, correlation_id = header.correlation_id);
    let outcome = span.in_scope(|| (api.handler)(context, body))?;
    let outcome = match outcome {
        Outcome::Later(future) if !span.is_disabled() => Outcome::Later(Box::pin(future.instrument(span))),
        outcome => outcome,
    };
    Ok(Started { api: api.key, outcome })
}

/// The code of a result; clients that do not know PRODUCER_FENCED yet are told INVALID_PRODUCER_EPOCH.
pub(crate) fn fenced_code(result: Result<(), ResponseError>, knows_fenced: bool) -> i16 {
    match result {
        Ok(()) => 0,
        Err(ResponseError::ProducerFenced) if !knows_fenced => ResponseError::InvalidProducerEpoch.code(),
        Err(error) => error.code(),
    }
}

/// Decodes a body that the guard has passed.
fn decode<R: Decodable>(context: &RequestContext, mut body: Bytes) -> Result<R, Error> {
    R::decode(&mut body, context.version).map_err(|error| Error::Body {
        api: context.api_key,
        version: context.version,
        reason: error.to_string(),
    })
}
