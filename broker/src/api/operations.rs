//! What a client may do, as the bits that Metadata, DescribeCluster, DescribeGroups and others tell who asks (KIP-430).
//!
//! There is no authorizer, so everybody may do everything that the kind of thing supports: `AclEntry.supportedOperations`
//! in Kafka.

/// The protocol's "not told", for who didn't ask.
pub(super) const NOT_TOLD: i32 = i32::MIN;

/// Numbers of `AclOperation`.
const READ: i32 = 3;
const WRITE: i32 = 4;
const CREATE: i32 = 5;
const DELETE: i32 = 6;
const ALTER: i32 = 7;
const DESCRIBE: i32 = 8;
const CLUSTER_ACTION: i32 = 9;
const DESCRIBE_CONFIGS: i32 = 10;
const ALTER_CONFIGS: i32 = 11;
const IDEMPOTENT_WRITE: i32 = 12;

/// Of a topic.
pub(super) const TOPIC: i32 = 1 << READ
    | 1 << WRITE
    | 1 << CREATE
    | 1 << DELETE
    | 1 << ALTER
    | 1 << DESCRIBE
    | 1 << DESCRIBE_CONFIGS
    | 1 << ALTER_CONFIGS;
/// Of the cluster.
pub(super) const CLUSTER: i32 = 1 << CREATE
    | 1 << ALTER
    | 1 << DESCRIBE
    | 1 << CLUSTER_ACTION
    | 1 << DESCRIBE_CONFIGS
    | 1 << ALTER_CONFIGS
    | 1 << IDEMPOTENT_WRITE;
/// Of a group.
pub(super) const GROUP: i32 =
    1 << READ | 1 << DELETE | 1 << DESCRIBE | 1 << DESCRIBE_CONFIGS | 1 << ALTER_CONFIGS;

/// The operations, if they were asked for.
pub(super) fn told(asked: bool, operations: i32) -> i32 {
    if asked { operations } else { NOT_TOLD }
}
