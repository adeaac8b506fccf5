//! The assignors that run in the coordinator. Pure functions from a group's subscriptions to a target.
//!
//! - [`uniform`]: as even as can be, and nobody loses what it may keep;
//! - [`range`]: for each topic a run of neighbours, so that topics with as many partitions meet at the same member.

pub(crate) mod range;
pub(crate) mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::Assignment;

/// What each member is to have, by member id.
pub(crate) type Targets = BTreeMap<String, Assignment>;

/// What an assignor goes by.
#[derive(Debug, Default)]
pub(crate) struct Spec {
    /// By member id.
    pub(crate) members: BTreeMap<String, MemberSpec>,
    /// How many partitions each subscribed topic has.
    pub(crate) topics: BTreeMap<Uuid, i32>,
}

/// One member's wishes.
#[derive(Debug, Default)]
pub(crate) struct MemberSpec {
    /// `group.instance.id`.
    pub(crate) instance: Option<String>,
    /// Topics that exist and that it subscribes to.
    pub(crate) topics: BTreeSet<Uuid>,
    /// Its last target.
    pub(crate) before: Arc<Assignment>,
}

/// An assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// `uniform`
    Uniform,
    /// `range`
    Range,
}

impl Assignor {
    /// The assignor called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// A target for every member; every partition of a subscribed topic goes to one of the topic's subscribers.
    pub(crate) fn assign(self, spec: &Spec) -> Targets {
        match self {
            Self::Uniform => uniform::assign(spec),
            Self::Range => range::assign(spec),
        }
    }
}

#[cfg(test)]
mod tests;
