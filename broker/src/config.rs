//! The broker's configuration: Kafka's property names, from a server.properties, a flat YAML file or single
//! `key=value` pairs; unknown keys are refused with the nearest known one.
//!
//! Rooms: `setting` (one row: type, default, check), `broker` and `topic` (the two tables), `properties` (the file
//! formats), `listener` (addresses).
//!
//! A [`Config`] holds only what was given explicitly, as text; defaults come from the tables when asked. That is what
//! DescribeConfigs needs to tell a default from a choice.

mod broker;
mod listener;
mod properties;
pub(crate) mod setting;
#[cfg(test)]
mod tests;
pub(crate) mod topic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use broker::{BROKER_SETTINGS, setting as broker_setting};
pub use listener::Address;
pub(crate) use topic::TopicConfig;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What was given, by name.
    explicit: BTreeMap<&'static str, String>,
}

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

    /// The value that was given for `name`, if one was.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.explicit.get(name).map(String::as_str)
    }

    /// The value that holds for `name`; empty where there is none.
    pub fn string(&self, name: &str) -> &str {
        debug_assert!(broker_setting(name).is_some(), "{name} is not a broker setting");
        self.explicit(name).or_else(|| broker_setting(name)?.default).unwrap_or_default()
    }

    /// The value of a numeric setting.
    pub fn long(&self, name: &str) -> i64 {
        self.string(name).trim().parse().unwrap_or_default()
    }

    /// The value of a numeric setting, cut to 32 bits.
    pub fn int(&self, name: &str) -> i32 {
        let value = self.long(name);
        i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
    }

    /// The value of a boolean setting.
    pub fn boolean(&self, name: &str) -> bool {
        self.string(name).trim().eq_ignore_ascii_case("true")
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
