//! Settings of a worker's membership, by Kafka Connect's names.

use std::time::Duration;

use crate::spec::nearest;

/// How a worker behaves towards its group. Names are Kafka Connect's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipConfig {
    /// `group.id`: workers with the same one share the work.
    pub group_id: String,
    /// `group.instance.id`: a worker that comes back under the same one within its session gets back what it had, and nothing
    /// moves meanwhile.
    pub group_instance_id: Option<String>,
    /// `session.timeout.ms`: how long others wait for a worker that is silent before they run its tasks.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`; also how long it takes until all have heard that the group changes.
    pub heartbeat_interval: Duration,
    /// `rebalance.timeout.ms`: how long the group waits for a worker to join again.
    pub rebalance_timeout: Duration,
    /// `scheduled.rebalance.max.delay.ms`: how much longer a lost worker's tasks wait for it. Kafka Connect waits for 5 minutes,
    /// since moving tasks used to stop all of them; here nothing else moves, so that there is nothing to wait for.
    pub scheduled_rebalance_max_delay: Duration,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self {
            group_id: "connect-cluster".to_owned(),
            group_instance_id: None,
            // The shortest that brokers grant unless told otherwise (group.min.session.timeout.ms).
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            rebalance_timeout: Duration::from_secs(60),
            scheduled_rebalance_max_delay: Duration::ZERO,
        }
    }
}

/// Why a property was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nobody knows it.
    #[error("unknown worker property {name}{hint}")]
    Unknown {
        /// As it was given.
        name: String,
        /// The nearest known one.
        hint: String,
    },
    /// It makes no sense.
    #[error("worker property {name} is {value:?}; expected {expected}")]
    Value {
        /// Which.
        name: String,
        /// As it was given.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
}

const INSTANCE: &str = "group.instance.id";
const SESSION: &str = "session.timeout.ms";
const HEARTBEAT: &str = "heartbeat.interval.ms";
const REBALANCE: &str = "rebalance.timeout.ms";
const DELAY: &str = "scheduled.rebalance.max.delay.ms";

impl MembershipConfig {
    /// Sets one property.
    ///
    /// # Errors
    /// When it is unknown, or no value of its kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let refuse = |expected| Error::Value { name: name.to_owned(), value: value.to_owned(), expected };
        let millis = || {
            let millis = value.parse::<u32>().map_err(|_| refuse("a number of milliseconds"))?;
            Ok(Duration::from_millis(u64::from(millis)))
        };
        match name {
            INSTANCE if value.is_empty() => return Err(refuse("a name")),
            INSTANCE => self.group_instance_id = Some(value.to_owned()),
            SESSION => self.session_timeout = millis()?,
            HEARTBEAT => self.heartbeat_interval = millis()?,
            REBALANCE => self.rebalance_timeout = millis()?,
            DELAY => self.scheduled_rebalance_max_delay = millis()?,
            _ => {
                let known = [INSTANCE, SESSION, HEARTBEAT, REBALANCE, DELAY];
                let hint = nearest(name, known);
                let hint = hint.map_or_else(
                    || format!("; there are {}", known.join(", ")),
                    |near| format!("; did you mean {near}?"),
                );
                return Err(Error::Unknown { name: name.to_owned(), hint });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_have_kafka_connect_s_names() {
        let mut config = MembershipConfig::default();
        config.set("session.timeout.ms", "9000").unwrap();
        config.set("scheduled.rebalance.max.delay.ms", "300000").unwrap();
        config.set("group.instance.id", "worker-1").unwrap();
        assert_eq!(config.session_timeout, Duration::from_secs(9));
        assert_eq!(config.scheduled_rebalance_max_delay, Duration::from_secs(300));
        assert_eq!(config.group_instance_id.as_deref(), Some("worker-1"));
        let refused = |name, value| MembershipConfig::default().set(name, value).unwrap_err().to_string();
        assert_eq!(
            refused("sesion.timeout.ms", "1"),
            "unknown worker property sesion.timeout.ms; did you mean session.timeout.ms?"
        );
        assert_eq!(
            refused("session.timeout.ms", "6s"),
            "worker property session.timeout.ms is \"6s\"; expected a number of milliseconds"
        );
    }
}
