//! Compatibility levels and modes, of one subject or of all.

use millrace_schema::compatibility::Level;

use super::{Registry, check_subject};
use crate::error::Refused;
use crate::record::{ConfigValue, Key, ModeValue, Record};
use crate::state::Mode;
use crate::store::Decision;

impl Registry {
    /// The level of a subject, or of all (`None`). `or_global`: where the subject has none of its own.
    pub(crate) fn level(&self, subject: Option<&str>, or_global: bool) -> Result<Level, Refused> {
        let state = self.store.state();
        match (state.level(subject), subject) {
            (Some(level), _) => Ok(level),
            (None, Some(subject)) if !or_global => Err(Refused::no_config(subject)),
            (None, _) => Ok(state.level(None).unwrap_or(Level::Backward)),
        }
    }

    pub(crate) async fn set_level(&self, subject: Option<&str>, level: &str) -> Result<Level, Refused> {
        subject.map_or(Ok(()), check_subject)?;
        let level = Level::named(level).ok_or_else(Refused::invalid_level)?;
        let subject = subject.map(str::to_owned);
        let value = ConfigValue { subject: subject.clone(), compatibility_level: level.name().to_owned() };
        let record = Record::new(Key::Config { subject }, &value);
        self.store.change(|| async { Ok(Decision::Write(vec![record.clone()], level)) }).await
    }

    /// Back to the level of all, or to the default; the level that was set.
    pub(crate) async fn unset_level(&self, subject: Option<&str>) -> Result<Level, Refused> {
        let decide = || async move {
            let set = self.store.state().level(subject);
            let record = Record::tombstone(Key::Config { subject: subject.map(str::to_owned) });
            match (set, subject) {
                (Some(level), _) => Ok(Decision::Write(vec![record], level)),
                (None, Some(subject)) => Err(Refused::no_config(subject)),
                (None, None) => Ok(Decision::Already(Level::Backward)),
            }
        };
        self.store.change(decide).await
    }

    /// The mode of a subject, or of all (`None`).
    pub(crate) fn mode(&self, subject: Option<&str>, or_global: bool) -> Result<Mode, Refused> {
        let state = self.store.state();
        match (state.mode(subject), subject) {
            (Some(mode), _) => Ok(mode),
            (None, Some(subject)) if !or_global => Err(Refused::no_mode(subject)),
            (None, _) => Ok(state.mode(None).unwrap_or_default()),
        }
    }

    /// IMPORT is for an empty subject, or an empty registry, unless `force` is said.
    pub(crate) async fn set_mode(
        &self,
        subject: Option<&str>,
        mode: &str,
        force: bool,
    ) -> Result<Mode, Refused> {
        subject.map_or(Ok(()), check_subject)?;
        let mode = Mode::named(mode).ok_or_else(Refused::invalid_mode)?;
        let decide = || async move {
            let state = self.store.state();
            let live = |of: &str| {
                state
                    .versions(of)
                    .is_some_and(|versions| versions.values().any(|version| !version.is_deleted))
            };
            let is_used = match subject {
                Some(subject) => live(subject),
                None => state.subjects().any(|(subject, _)| live(subject)),
            };
            if mode == Mode::Import && is_used && !force {
                return Err(Refused::not_permitted("Cannot import since found existing subjects"));
            }
            let subject = subject.map(str::to_owned);
            let value = ModeValue { subject: subject.clone(), mode: mode.name().to_owned() };
            Ok(Decision::Write(vec![Record::new(Key::Mode { subject }, &value)], mode))
        };
        self.store.change(decide).await
    }

    /// Back to the mode of all; the mode that was set.
    pub(crate) async fn unset_mode(&self, subject: Option<&str>) -> Result<Mode, Refused> {
        let decide = || async move {
            let set = self.store.state().mode(subject);
            let record = Record::tombstone(Key::Mode { subject: subject.map(str::to_owned) });
            match (set, subject) {
                (Some(mode), _) => Ok(Decision::Write(vec![record], mode)),
                (None, Some(subject)) => Err(Refused::no_mode(subject)),
                (None, None) => Ok(Decision::Already(Mode::ReadWrite)),
            }
        };
        self.store.change(decide).await
    }
}
