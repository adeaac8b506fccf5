//! The broker's configuration: Kafka's property names, from a server.properties, a flat YAML file or single
//! `key=value` pairs; unknown keys are refused with the nearest known one.
//!
//! Rooms: `setting` (one row: type, default, check), `broker`, `topic` and `group` (the tables), `properties` (the file
//! formats), `listener` (addresses), `dynamic` (what can be changed while the broker runs).
//!
//! A [`Config`] holds only what was given explicitly, as text; defaults come from the tables when asked. That is what
//! DescribeConfigs needs to tell a default from a choice. Over what was given lies what was changed since (`dynamic`);
//! clones share that layer, so that a change is seen wherever a setting is asked for.

mod broker;
pub(crate) mod dynamic;
pub(crate) mod group;
mod listener;
mod properties;
pub(crate) mod setting;
#[cfg(test)]
mod tests;
pub(crate) mod topic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tracing::warn;

pub(crate) use broker::{BROKER_SETTINGS, setting as broker_setting};
pub use listener::Address;
pub(crate) use topic::TopicConfig;

use dynamic::{Dynamic, Overrides};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker setting has this name.
    #[error("unknown setting {name}{}", hint(.nearest))]
    UnknownSetting {
        /// What was given.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
    },
    /// No topic setting has this name.
    #[error("unknown topic setting {name}{}", hint(.nearest))]
    UnknownTopicSetting {
        /// What was given.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
    },
    /// No group setting has this name.
    #[error("unknown group setting {name}{}", hint(.nearest))]
    UnknownGroupSetting {
        /// What was given.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
    },
    /// A value that the setting doesn't take.
    #[error("setting {name}: {value:?} is not allowed; expected {expected}")]
    InvalidValue {
        /// The setting.
        name: String,
        /// What was given.
        value: String,
        /// What would be taken.
        expected: String,
    },
    /// A change while the broker runs of what is read at start.
    #[error(
        "setting {name} cannot be changed while the broker runs; change it in the configuration and restart"
    )]
    ReadOnly {
        /// The setting.
        name: String,
    },
    /// A line that is not `key=value` (properties) or `key: value` (YAML).
    #[error("{origin} line {line}: expected {expected}, found {found:?}")]
    Syntax {
        /// The file.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What a line looks like.
        expected: &'static str,
        /// The line's text.
        found: String,
    },
    /// A setting from a file, with where it stands.
    #[error("{origin} line {line}: {error}")]
    At {
        /// The file.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        #[source]
        error: Box<Error>,
    },
    /// The file can't be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |name| format!("; did you mean {name}?"))
}

/// A broker's configuration. Starts as all defaults.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What was given, by name.
    explicit: BTreeMap<&'static str, String>,
    /// What was changed since; shared with all clones.
    dynamic: Arc<RwLock<Arc<Dynamic>>>,
}

impl PartialEq for Config {
    /// Whether the same was given.
    fn eq(&self, other: &Self) -> bool {
        self.explicit == other.explicit
    }
}

impl Eq for Config {}

impl Config {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file: YAML if it ends in `.yaml` or `.yml`, else properties.
    ///
    /// # Errors
    /// The file can't be read, a line has no key and value, or a setting is refused; with file and line.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::Read { path: path.to_owned(), error })?;
        let origin = path.display().to_string();
        let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if yaml { Self::from_yaml(&text, &origin) } else { Self::from_properties(&text, &origin) }
    }

    /// Reads Java properties; `origin` names the text in errors.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn from_properties(text: &str, origin: &str) -> Result<Self, Error> {
        Self::from_lines(properties::properties(text, origin)?, origin)
    }

    /// Reads a flat YAML mapping of names to plain values; `origin` names the text in errors.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self, Error> {
        Self::from_lines(properties::flat_yaml(text, origin)?, origin)
    }

    fn from_lines(lines: Vec<properties::Line>, origin: &str) -> Result<Self, Error> {
        let mut config = Self::default();
        for properties::Line { number, key, value } in lines {
            config.set(&key, &value).map_err(|error| Error::At {
                origin: origin.to_owned(),
                line: number,
                error: Box::new(error),
            })?;
        }
        Ok(config)
    }

    /// Sets one value; an empty value of a setting without default unsets it.
    ///
    /// # Errors
    /// An unknown name, with the nearest known one; a value that the setting doesn't take.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let Some(row) = broker_setting(name) else {
            return Err(Error::UnknownSetting {
                name: name.to_owned(),
                nearest: setting::nearest(name, BROKER_SETTINGS.iter().map(|row| row.name))
                    .map(str::to_owned),
            });
        };
        row.validate(value)?;
        listener::check(row.name, value)?;
        self.explicit.insert(row.name, value.trim().to_owned());
        if row.name == "broker.id" && !self.explicit.contains_key("node.id") {
            self.explicit.insert("node.id", value.trim().to_owned());
        }
        Ok(())
    }

    /// Sets the data directory (`log.dirs`).
    pub fn set_data_dir(&mut self, dir: &Path) {
        self.explicit.insert("log.dirs", dir.display().to_string());
    }

    /// Sets the address to listen on, as `host:port` (`listeners`); port 0 lets the system choose.
    ///
    /// # Errors
    /// Not a host and a port.
    pub fn set_listen(&mut self, address: &str) -> Result<(), Error> {
        self.set("listeners", &format!("PLAINTEXT://{address}"))
    }

    /// Sets the address where metrics and health are answered, as `host:port` (`metrics.listener`).
    ///
    /// # Errors
    /// Not a host and a port.
    pub fn set_metrics(&mut self, address: &str) -> Result<(), Error> {
        self.set("metrics.listener", address)
    }

    /// Sets the address where a schema registry is to be served beside this broker, as `host:port` (`registry.listener`).
    ///
    /// # Errors
    /// Not a host and a port.
    pub fn set_registry(&mut self, address: &str) -> Result<(), Error> {
        self.set("registry.listener", address)
    }

    /// The value that was given for `name`, if one was.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.explicit.get(name).map(String::as_str)
    }

    /// What was changed while the broker runs.
    pub(crate) fn dynamic(&self) -> Arc<Dynamic> {
        self.dynamic.read().clone()
    }

    /// Lays these changes over what was given, for all clones; whether that changes anything. What can't be used (it
    /// was stored by another version) is left out, with a line in the log.
    pub(crate) fn set_dynamic(&self, default: &Overrides, broker: &Overrides) -> bool {
        let usable = |overrides: &Overrides| {
            let mut usable = overrides.clone();
            usable.retain(|name, value| match dynamic::validate(name, Some(value)) {
                Ok(()) => true,
                Err(error) => {
                    warn!(%error, "a stored setting of the broker is passed over");
                    false
                }
            });
            usable
        };
        let new = Dynamic { broker: usable(broker), default: usable(default) };
        let mut present = self.dynamic.write();
        let changed = **present != new;
        if changed {
            *present = Arc::new(new);
        }
        changed
    }

    /// The value that holds for a setting that is read at start; empty where there is none. For one that may change
    /// ask [`Config::current`].
    pub fn string(&self, name: &str) -> &str {
        debug_assert!(broker_setting(name).is_some(), "{name} is not a broker setting");
        debug_assert!(!dynamic::is_changeable(name), "{name} may change while the broker runs");
        self.given(name)
    }

    /// The value that holds for `name` now; empty where there is none.
    pub fn current(&self, name: &str) -> String {
        match self.dynamic.read().get(name) {
            Some(value) => value.clone(),
            None => self.given(name).to_owned(),
        }
    }

    fn given(&self, name: &str) -> &str {
        self.explicit(name).or_else(|| broker_setting(name)?.default).unwrap_or_default()
    }

    /// The value of a numeric setting.
    pub fn long(&self, name: &str) -> i64 {
        debug_assert!(broker_setting(name).is_some(), "{name} is not a broker setting");
        let parse = |text: &str| text.trim().parse().unwrap_or_default();
        match self.dynamic.read().get(name) {
            Some(value) => parse(value),
            None => parse(self.given(name)),
        }
    }

    /// The value of a numeric setting, cut to 32 bits.
    pub fn int(&self, name: &str) -> i32 {
        let value = self.long(name);
        i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
    }

    /// The value of a boolean setting.
    pub fn boolean(&self, name: &str) -> bool {
        self.current(name).trim().eq_ignore_ascii_case("true")
    }

    /// This node's number.
    pub fn node_id(&self) -> i32 {
        self.int("node.id")
    }

    /// The data directory: the first of `log.dirs`, else `log.dir`.
    pub fn data_dir(&self) -> PathBuf {
        let dirs = self.string("log.dirs");
        let first = setting::items(dirs).next().unwrap_or_else(|| self.string("log.dir"));
        PathBuf::from(first)
    }

    /// The address to listen on.
    pub fn listen(&self) -> Address {
        let controllers: Vec<&str> = setting::items(self.string("controller.listener.names")).collect();
        listener::client_address(self.string("listeners"), &controllers)
    }

    /// The address to tell clients, if it is not the one listened on.
    pub fn advertised(&self) -> Option<Address> {
        let controllers: Vec<&str> = setting::items(self.string("controller.listener.names")).collect();
        let text = self.string("advertised.listeners");
        (!text.is_empty()).then(|| listener::client_address(text, &controllers))
    }
}
