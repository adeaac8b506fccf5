//! Records of the metadata log, in KRaft's binary form (`metadata/src/main/resources/common/metadata/*.json` of Kafka).
//!
//! A record's value is: frame version (unsigned varint, 1), the record type's number, its version, then the fields in
//! the protocol's flexible encoding. Only the types that this broker writes are here; another type in the log is an
//! error that names it, since ignoring what somebody decided would be worse than refusing to start.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Kafka's number for "resource is a topic" in a config record.
pub(crate) const RESOURCE_TOPIC: i8 = 2;
/// Kafka's number for "resource is a broker" in a config record.
pub(crate) const RESOURCE_BROKER: i8 = 4;
/// Kafka's number for "resource is a group" in a config record.
pub(crate) const RESOURCE_GROUP: i8 = 32;

const FRAME_VERSION: u32 = 1;
/// No change of leader, in a partition change.
const NO_LEADER_CHANGE: i32 = -2;

/// A record that can't be read back.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// The record ends early or a length in it can't be.
    #[error("metadata record is cut short or malformed")]
    Malformed,
    /// A type or version that this broker never writes.
    #[error("metadata record of type {kind} version {version} is not known to this broker")]
    Unknown { kind: u32, version: u32 },
}

/// One decision of the controller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MetadataRecord {
    /// A broker started (type 0).
    RegisterBroker { id: i32, incarnation: Uuid, epoch: i64, host: String, port: u16, rack: Option<String> },
    /// A topic exists (type 2).
    Topic { name: String, id: Uuid },
    /// A partition of it exists (type 3).
    Partition {
        topic_id: Uuid,
        partition: i32,
        replicas: Vec<i32>,
        isr: Vec<i32>,
        leader: i32,
        leader_epoch: i32,
        partition_epoch: i32,
        directories: Vec<Uuid>,
    },
    /// A setting of a topic, broker or group; no value takes the setting back (type 4).
    Config { resource_type: i8, resource: String, name: String, value: Option<String> },
    /// A partition has a new leader epoch, under this leader (type 5).
    LeaderChange { topic_id: Uuid, partition: i32, leader: i32 },
    /// A topic is gone with all its partitions and settings (type 9).
    RemoveTopic { id: Uuid },
    /// A feature's level is settled (type 12).
    FeatureLevel { name: String, level: i16 },
    /// A quota of an entity, or none any more (type 14). The entity is pairs of type and name; no name is the default.
    ClientQuota { entity: Vec<(String, Option<String>)>, key: String, value: Option<f64> },
    /// Producer ids below this one are given out (type 15).
    ProducerIds { broker_id: i32, broker_epoch: i64, next: i64 },
    /// A registered broker may lead (type 17).
    Unfence { id: i32, epoch: i64 },
}

impl MetadataRecord {
    /// The record's value.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer(BytesMut::with_capacity(64));
        match self {
            Self::RegisterBroker { id, incarnation, epoch, host, port, rack } => {
                out.head(0, 3);
                out.0.put_i32(*id);
                out.0.put_u8(0); // not migrating from ZooKeeper
                out.uuid(*incarnation);
                out.0.put_i64(*epoch);
                out.varint(1 + 1);
                out.text("PLAINTEXT");
                out.text(host);
                out.0.put_u16(*port);
                out.0.put_i16(0); // plaintext
                out.no_tags();
                out.varint(1); // no features
                out.nullable(rack.as_deref());
                out.0.put_u8(1); // fenced, until the next record says otherwise
                out.0.put_u8(0); // not shutting down
                out.no_tags();
            }
            Self::Topic { name, id } => {
                out.head(2, 0);
                out.text(name);
                out.uuid(*id);
                out.no_tags();
            }
            Self::Partition {
                topic_id,
                partition,
                replicas,
                isr,
                leader,
                leader_epoch,
                partition_epoch,
                directories,
            } => {
                out.head(3, 1);
                out.0.put_i32(*partition);
                out.uuid(*topic_id);
                out.ints(replicas);
                out.ints(isr);
                out.ints(&[]); // none being removed
                out.ints(&[]); // none being added
                out.0.put_i32(*leader);
                out.0.put_i32(*leader_epoch);
                out.0.put_i32(*partition_epoch);
                out.varint(directories.len() as u32 + 1);
                directories.iter().for_each(|id| out.uuid(*id));
                out.no_tags();
            }
            Self::Config { resource_type, resource, name, value } => {
                out.head(4, 0);
                out.0.put_i8(*resource_type);
                out.text(resource);
                out.text(name);
                out.nullable(value.as_deref());
                out.no_tags();
            }
            Self::LeaderChange { topic_id, partition, leader } => {
                out.head(5, 0);
                out.0.put_i32(*partition);
                out.uuid(*topic_id);
                out.varint(1);
                out.tag(1, &leader.to_be_bytes());
            }
            Self::RemoveTopic { id } => {
                out.head(9, 0);
                out.uuid(*id);
                out.no_tags();
            }
            Self::FeatureLevel { name, level } => {
                out.head(12, 0);
                out.text(name);
                out.0.put_i16(*level);
                out.no_tags();
            }
            Self::ClientQuota { entity, key, value } => {
                out.head(14, 0);
                out.varint(entity.len() as u32 + 1);
                for (kind, name) in entity {
                    out.text(kind);
                    out.nullable(name.as_deref());
                    out.no_tags();
                }
                out.text(key);
                out.0.put_f64(value.unwrap_or_default());
                out.0.put_u8(u8::from(value.is_none()));
                out.no_tags();
            }
            Self::ProducerIds { broker_id, broker_epoch, next } => {
                out.head(15, 0);
                out.0.put_i32(*broker_id);
                out.0.put_i64(*broker_epoch);
                out.0.put_i64(*next);
                out.no_tags();
            }
            Self::Unfence { id, epoch } => {
                out.head(17, 0);
                out.0.put_i32(*id);
                out.0.put_i64(*epoch);
                out.varint(1);
                out.tag(0, &[0xff]); // -1: no longer fenced
            }
        }
        out.0.freeze()
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// Cut short, a length that can't be, or a type or version that is not written here.
    pub(crate) fn decode(mut value: Bytes) -> Result<Self, Error> {
        let input = &mut Reader(&mut value);
        if input.varint()? != FRAME_VERSION {
            return Err(Error::Malformed);
        }
        let (kind, version) = (input.varint()?, input.varint()?);
        let record = match (kind, version) {
            (0, 3) => Self::decode_broker(input)?,
            (2, 0) => Self::Topic { name: input.text()?, id: input.uuid()? },
            (3, 1) => Self::decode_partition(input)?,
            (4, 0) => Self::Config {
                resource_type: input.i8()?,
                resource: input.text()?,
                name: input.text()?,
                value: input.nullable()?,
            },
            (5, 0) => {
                let (partition, topic_id) = (input.i32()?, input.uuid()?);
                let leader = input.tagged(1)?.map_or(Ok(NO_LEADER_CHANGE), |mut bytes| {
                    bytes.try_get_i32().map_err(|_| Error::Malformed)
                })?;
                return Ok(Self::LeaderChange { topic_id, partition, leader });
            }
            (9, 0) => Self::RemoveTopic { id: input.uuid()? },
            (12, 0) => Self::FeatureLevel { name: input.text()?, level: input.i16()? },
            (14, 0) => Self::decode_quota(input)?,
            (15, 0) => {
                Self::ProducerIds { broker_id: input.i32()?, broker_epoch: input.i64()?, next: input.i64()? }
            }
            (17, 0) => return Ok(Self::Unfence { id: input.i32()?, epoch: input.i64()? }),
            (kind, version) => return Err(Error::Unknown { kind, version }),
        };
        Ok(record)
    }

    fn decode_broker(input: &mut Reader<'_>) -> Result<Self, Error> {
        let id = input.i32()?;
        input.i8()?;
        let (incarnation, epoch) = (input.uuid()?, input.i64()?);
        let endpoints = input.count()?;
        let (mut host, mut port) = (String::new(), 0);
        for _ in 0..endpoints {
            input.text()?;
            host = input.text()?;
            port = input.i16()? as u16;
            input.i16()?;
            input.tagged(0)?;
        }
        for _ in 0..input.count()? {
            input.text()?;
            input.i16()?;
            input.i16()?;
            input.tagged(0)?;
        }
        Ok(Self::RegisterBroker { id, incarnation, epoch, host, port, rack: input.nullable()? })
    }

    fn decode_quota(input: &mut Reader<'_>) -> Result<Self, Error> {
        let mut entity = Vec::new();
        for _ in 0..input.count()? {
            entity.push((input.text()?, input.nullable()?));
            input.tagged(0)?;
        }
        let key = input.text()?;
        let (value, is_removed) = (input.f64()?, input.i8()? != 0);
        Ok(Self::ClientQuota { entity, key, value: (!is_removed).then_some(value) })
    }

    fn decode_partition(input: &mut Reader<'_>) -> Result<Self, Error> {
        let (partition, topic_id) = (input.i32()?, input.uuid()?);
        let (replicas, isr) = (input.ints()?, input.ints()?);
        input.ints()?;
        input.ints()?;
        let (leader, leader_epoch, partition_epoch) = (input.i32()?, input.i32()?, input.i32()?);
        let count = input.count()?;
        let directories = (0..count).map(|_| input.uuid()).collect::<Result<_, _>>()?;
        Ok(Self::Partition {
            topic_id,
            partition,
            replicas,
            isr,
            leader,
            leader_epoch,
            partition_epoch,
            directories,
        })
    }
}

/// Writes the protocol's flexible encoding.
struct Writer(BytesMut);

impl Writer {
    fn head(&mut self, kind: u32, version: u32) {
        self.varint(FRAME_VERSION);
        self.varint(kind);
        self.varint(version);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.varint(text.len() as u32 + 1);
        self.0.put_slice(text.as_bytes());
    }

    fn nullable(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.varint(0),
        }
    }

    fn uuid(&mut self, id: Uuid) {
        self.0.put_slice(id.as_bytes());
    }

    fn ints(&mut self, values: &[i32]) {
        self.varint(values.len() as u32 + 1);
        values.iter().for_each(|value| self.0.put_i32(*value));
    }

    fn no_tags(&mut self) {
        self.varint(0);
    }

    fn tag(&mut self, number: u32, value: &[u8]) {
        self.varint(number);
        self.varint(value.len() as u32);
        self.0.put_slice(value);
    }
}

/// Reads it back; every length is checked against what is left.
struct Reader<'a>(&'a mut Bytes);

impl Reader<'_> {
    fn varint(&mut self) -> Result<u32, Error> {
        let mut value = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte = self.0.try_get_u8().map_err(|_| Error::Malformed)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Malformed)
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if self.0.len() < len { Err(Error::Malformed) } else { Ok(self.0.split_to(len)) }
    }

    /// An array's length; each item takes a byte at least.
    fn count(&mut self) -> Result<usize, Error> {
        let count = self.varint()?.checked_sub(1).ok_or(Error::Malformed)? as usize;
        if count > self.0.len() { Err(Error::Malformed) } else { Ok(count) }
    }

    fn nullable(&mut self) -> Result<Option<String>, Error> {
        let Some(len) = self.varint()?.checked_sub(1) else { return Ok(None) };
        let bytes = self.take(len as usize)?;
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Error::Malformed)
    }

    fn text(&mut self) -> Result<String, Error> {
        self.nullable()?.ok_or(Error::Malformed)
    }

    fn uuid(&mut self) -> Result<Uuid, Error> {
        Uuid::from_slice(&self.take(16)?).map_err(|_| Error::Malformed)
    }

    fn i8(&mut self) -> Result<i8, Error> {
        self.0.try_get_i8().map_err(|_| Error::Malformed)
    }

    fn i16(&mut self) -> Result<i16, Error> {
        self.0.try_get_i16().map_err(|_| Error::Malformed)
    }

    fn i32(&mut self) -> Result<i32, Error> {
        self.0.try_get_i32().map_err(|_| Error::Malformed)
    }

    fn f64(&mut self) -> Result<f64, Error> {
        self.0.try_get_f64().map_err(|_| Error::Malformed)
    }

    fn i64(&mut self) -> Result<i64, Error> {
        self.0.try_get_i64().map_err(|_| Error::Malformed)
    }

    fn ints(&mut self) -> Result<Vec<i32>, Error> {
        let count = self.count()?;
        (0..count).map(|_| self.i32()).collect()
    }

    /// Reads the tagged fields; gives back the one numbered `wanted`.
    fn tagged(&mut self, wanted: u32) -> Result<Option<Bytes>, Error> {
        let mut found = None;
        for _ in 0..self.varint()? {
            let number = self.varint()?;
            let len = self.varint()? as usize;
            let value = self.take(len)?;
            if number == wanted {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// The control batch with which a leader of the metadata log begins its epoch (KIP-595, `LeaderChangeMessage`).
pub(crate) fn leader_change(node_id: i32, now_ms: i64) -> Result<Bytes, millrace_wire::record::Error> {
    use millrace_wire::ids::Offset;
    use millrace_wire::record::{BatchBuilder, BatchOptions};

    /// Control record type of a leader change.
    const LEADER_CHANGE: i16 = 2;
    let mut key = BytesMut::new();
    key.put_i16(0);
    key.put_i16(LEADER_CHANGE);
    let mut value = Writer(BytesMut::new());
    value.0.put_i16(0);
    value.0.put_i32(node_id);
    for _voters_then_granting in 0..2 {
        value.varint(1 + 1);
        value.0.put_i32(node_id);
        value.no_tags();
    }
    value.no_tags();
    let mut batch = BatchBuilder::new(BatchOptions { control: true, ..BatchOptions::default() });
    batch.push(now_ms, Some(&key), Some(&value.0), std::iter::empty())?;
    batch.build(Offset(0))
}
