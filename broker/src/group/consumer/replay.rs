//! Reading a consumer group again.

use std::sync::Arc;

use super::member::Member;
use super::records::{self, Key};
use crate::coordinators::KeyValue;
use crate::coordinators::codec::Error;
use crate::group::classic::Group;
use crate::group::coordinator::Coordinator;

impl Coordinator {
    /// Applies a record of a consumer group. A tombstone of what is not there changes nothing.
    pub(crate) fn load_consumer(&mut self, key: Key, record: KeyValue) -> Result<(), Error> {
        let id = match &key {
            Key::Group(group)
            | Key::PartitionMetadata(group)
            | Key::Member(group, _)
            | Key::TargetEpoch(group)
            | Key::Target(group, _)
            | Key::Current(group, _)
            | Key::Pattern(group, _) => group.clone(),
        };
        let Some(value) = record.value else {
            self.take_away(&id, &key);
            return Ok(());
        };
        let group = self.groups.entry(id).or_insert_with_key(|id| Group::new(id.clone()));
        let consumer = group.consumer.get_or_insert_default();
        let blank = |id: &str| Arc::new(Member { id: id.to_owned(), ..Member::default() });
        match key {
            Key::Group(_) => (consumer.epoch, consumer.metadata_hash) = records::read_group(value)?,
            Key::PartitionMetadata(_) => {}
            Key::TargetEpoch(_) => consumer.assignment_epoch = records::read_target_epoch(value)?,
            Key::Target(_, member) => {
                consumer.targets.insert(member, Arc::new(records::read_target(value)?));
            }
            Key::Pattern(_, pattern) => {
                consumer.patterns.insert(pattern, Arc::new(records::read_pattern(value)?));
            }
            Key::Member(_, id) => {
                let said = records::read_member(id.clone(), value)?;
                let member = consumer.members.entry(id).or_insert_with_key(|id| blank(id));
                let member = Arc::make_mut(member);
                *member = Member {
                    epoch: member.epoch,
                    previous_epoch: member.previous_epoch,
                    state: member.state,
                    assigned: std::mem::take(&mut member.assigned),
                    revoking: std::mem::take(&mut member.revoking),
                    since: std::mem::take(&mut member.since),
                    ..said
                };
            }
            Key::Current(_, id) => {
                let progress = records::read_current(value)?;
                let member = consumer.members.entry(id).or_insert_with_key(|id| blank(id));
                let member = Arc::make_mut(member);
                member.epoch = progress.epoch;
                member.previous_epoch = progress.previous_epoch;
                member.state = progress.state;
                member.assigned = progress.assigned;
                member.revoking = progress.revoking;
                member.since = progress.since;
                // Of what a Kafka before 4.3 wrote, nothing older than the present epoch is known.
                member.mark_since();
            }
        }
        Ok(())
    }

    fn take_away(&mut self, id: &str, key: &Key) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(consumer) = &mut group.consumer else { return };
        match key {
            Key::Group(_) => group.consumer = None,
            Key::PartitionMetadata(_) => {}
            Key::TargetEpoch(_) => consumer.assignment_epoch = 0,
            Key::Member(_, member) => drop(consumer.members.remove(member)),
            Key::Target(_, member) => drop(consumer.targets.remove(member)),
            Key::Pattern(_, pattern) => drop(consumer.patterns.remove(pattern)),
            Key::Current(_, member) => {
                if let Some(member) = consumer.members.get_mut(member).map(Arc::make_mut) {
                    *member = Member {
                        assigned: Default::default(),
                        revoking: Default::default(),
                        since: Default::default(),
                        ..member.clone()
                    };
                    (member.epoch, member.previous_epoch) = (0, 0);
                }
            }
        }
    }
}
