//! Which records a transform is given, by Kafka Connect's names (KIP-585):
//! `transforms.ALIAS.predicate` and `.negate`, `predicates`, `predicates.ALIAS.type` and the setting of that type.

use std::collections::BTreeSet;

use super::{Reader, transform_key};
use crate::plan::PredicatePlan;
use crate::spec::flat::keys::{self, TRANSFORM_NEGATE, TRANSFORM_PREDICATE, TRANSFORM_TYPE};
use crate::spec::names::nearest;
use crate::spec::predicate::{named, names, setting_of};
use crate::spec::read::one_of;

/// The package of Kafka Connect's predicates, which its configurations name.
const KAFKA_PACKAGE: &str = "org.apache.kafka.connect.transforms.predicates.";

impl Reader<'_> {
    /// The predicate of the transform `alias`.
    pub(super) fn predicate(&mut self, alias: &str) -> Option<PredicatePlan> {
        let (key, negate_key) =
            (transform_key(alias, TRANSFORM_PREDICATE), transform_key(alias, TRANSFORM_NEGATE));
        let negate = self.boolean(&negate_key);
        let Some(name) = self.text(&key).filter(|name| !name.is_empty()) else {
            if negate.is_some() {
                self.problem(&negate_key, format!("transform `{alias}` has no `predicate` to negate"));
            }
            return None;
        };
        let known = self.list(keys::PREDICATES);
        if !known.contains(&name) {
            let problem = self
                .at(&key, format!("`{name}` is not among `predicates`"))
                .suggest(nearest(&name, known.iter().map(String::as_str)));
            self.push(problem);
            return None;
        }
        let type_key = predicate_key(&name, TRANSFORM_TYPE);
        let Some(kind) = self.text(&type_key) else {
            self.problem(keys::PREDICATES, format!("predicate `{name}` has no `type`"));
            return None;
        };
        let kind = kind.strip_prefix(KAFKA_PACKAGE).unwrap_or(&kind);
        let Some(setting) = setting_of(kind) else {
            let all: Vec<&str> = names().collect();
            let problem = self.at(&type_key, format!("no such predicate: `{kind}`")).expected(one_of(&all));
            self.push(problem.suggest(nearest(kind, all)));
            return None;
        };
        let (value_key, value) = match setting {
            None => (type_key.clone(), String::new()),
            Some(setting) => {
                let value_key = predicate_key(&name, setting);
                match self.text(&value_key) {
                    Some(value) => (value_key, value),
                    None => {
                        self.problem(&type_key, format!("{kind} needs `{value_key}`"));
                        return None;
                    }
                }
            }
        };
        match named(kind, value) {
            Ok(test) => Some(PredicatePlan { test, negate: negate.unwrap_or_default() }),
            Err(why) => {
                self.problem(&value_key, format!("the value {why}"));
                None
            }
        }
    }

    /// Keys of predicates that nothing takes: a predicate nobody uses is as good as one that is not there, a misspelt one
    /// is not.
    pub(super) fn stray_predicates(&mut self) {
        let listed: BTreeSet<String> = self.list(keys::PREDICATES).into_iter().collect();
        let is_stray = |key: &&String| key.starts_with("predicates.") && !self.taken.contains(*key);
        let strays: Vec<String> = self.config.keys().filter(is_stray).cloned().collect();
        for key in strays {
            let (alias, setting) = key["predicates.".len()..].split_once('.').unwrap_or_default();
            let is_listed = listed.contains(alias);
            let kind = self.config.get(&predicate_key(alias, TRANSFORM_TYPE)).cloned().unwrap_or_default();
            let kind = kind.strip_prefix(KAFKA_PACKAGE).unwrap_or(&kind);
            if !is_listed {
                let problem = self
                    .at(&key, format!("`{alias}` is not among `predicates`"))
                    .suggest(nearest(alias, listed.iter().map(String::as_str)));
                self.push(problem);
            } else if setting != TRANSFORM_TYPE && setting_of(kind).flatten() != Some(setting) {
                self.problem(&key, format!("predicate `{alias}` has no setting `{setting}`"));
            }
            self.taken.insert(key);
        }
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let text = self.text(key)?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            let problem = self.at(key, format!("`{key}` is neither true nor false"));
            self.push(problem.expected("`true` or `false`"));
        }
        value
    }
}

fn predicate_key(alias: &str, key: &str) -> String {
    format!("{}.{alias}.{key}", keys::PREDICATES)
}
