//! Reading `__consumer_offsets` again: the state of a coordinator that starts.
//!
//! Records come in the order of the log. When all are read, [`Coordinator::loaded`] begins the sessions of the members
//! that were found: they get their full session timeout to show up.

use crate::coordinators::codec::Error;
use crate::coordinators::{KeyValue, Producer};
use crate::group::classic::{Group, State};
use crate::group::consumer::timers;
use crate::group::coordinator::Coordinator;
use crate::group::event::Marker;
use crate::group::member::Member;
use crate::group::records::{self, Key, StoredGroup};

impl Coordinator {
    /// Applies a record. `producer` is set if its batch belongs to a transaction of that producer.
    ///
    /// # Errors
    /// If the record is not one of Kafka's; the caller goes on with the next one.
    pub(crate) fn load(&mut self, record: KeyValue, producer: Option<Producer>) -> Result<(), Error> {
        match records::read_key(record.key.clone())? {
            Key::Offset { group, partition } => {
                let value = record.value.map(records::read_offset).transpose()?;
                let group = self.groups.entry(group).or_insert_with_key(|id| Group::new(id.clone()));
                match value {
                    Some(offset) => {
                        group.offsets.put(producer.map(|producer| producer.id), partition, offset)
                    }
                    None => group.offsets.remove(&partition),
                }
            }
            Key::Group(id) => {
                let value = record.value.map(records::read_group).transpose()?;
                if value.is_none() && self.groups.get(&id).is_some_and(|group| group.consumer.is_some()) {
                    return Ok(());
                }
                let offsets = self.groups.remove(&id).map(|group| group.offsets).unwrap_or_default();
                let mut group =
                    value.map_or_else(|| Group::new(id.clone()), |stored| restored(id.clone(), stored));
                group.offsets = offsets;
                self.groups.insert(id, group);
            }
            Key::Consumer(key) => self.load_consumer(key, record)?,
            Key::Other(version) => tracing::debug!(version, "record of a newer coordinator left alone"),
        }
        Ok(())
    }

    /// Applies the end of a transaction.
    pub(crate) fn load_marker(&mut self, producer: Producer, commit: bool) {
        self.end_transaction(&Marker { producer, coordinator_epoch: 0, commit });
    }

    /// The log is read to its end: lets time begin.
    pub(crate) fn loaded(&mut self, now_ms: i64) {
        self.cx.now_ms = now_ms;
        self.groups.retain(|_, group| !group.is_bare());
        for group in self.groups.values() {
            timers::follow(&mut self.cx, &group.id, None, group.consumer.as_ref());
            for id in group.members.keys() {
                self.cx.keep_alive(group, id);
            }
        }
        self.schedule_expiry(now_ms);
    }
}

fn restored(id: String, stored: StoredGroup) -> Group {
    let mut group = Group::new(id);
    group.stored = true;
    group.state = if stored.members.is_empty() { State::Empty } else { State::Stable };
    group.state_since_ms = stored.state_since_ms;
    group.generation = stored.generation;
    group.protocol_type = Some(stored.protocol_type).filter(|kind| !kind.is_empty());
    group.protocol = stored.protocol;
    group.leader = stored.leader;
    for member in stored.members {
        let member = Member::restored(member, group.protocol.as_deref());
        if let Some(instance) = &member.instance {
            group.instances.insert(instance.clone(), member.id.clone());
        }
        group.members.insert(member.id.clone(), member);
    }
    group
}
