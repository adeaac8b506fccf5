//! Whom a quota is for, and which of several holds for a client.

use std::collections::BTreeMap;

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Bytes of Produce requests per second.
    Produce,
    /// Bytes of Fetch responses per second.
    Fetch,
    /// Share of a thread's time, in percent.
    Request,
    /// Partitions created and deleted per second.
    ControllerMutation,
    /// Connections from one address per second.
    ConnectionCreation,
}

impl Kind {
    /// Kafka's name of the setting.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::ControllerMutation => "controller_mutation_rate",
            Self::ConnectionCreation => "connection_creation_rate",
        }
    }
}

/// Quotas for users and clients.
const CLIENT_KEYS: &[&str] =
    &["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
/// Quotas for addresses.
const IP_KEYS: &[&str] = &["connection_creation_rate"];
/// These are whole numbers.
const WHOLE: &[&str] = &["producer_byte_rate", "consumer_byte_rate", "connection_creation_rate"];

/// One side of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// The entity says nothing about it.
    #[default]
    Absent,
    /// Whoever has no quota of its own.
    Default,
    /// This one.
    Named(String),
}

/// Whom a quota is for: a user, a client id, both, or an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entity {
    pub(crate) user: Part,
    pub(crate) client: Part,
    pub(crate) ip: Part,
}

/// All quotas, by entity and name.
pub(crate) type QuotaTable = BTreeMap<Entity, BTreeMap<String, f64>>;

/// The protocol's names of an entity's sides.
pub(crate) const USER: &str = "user";
/// See [`USER`].
pub(crate) const CLIENT: &str = "client-id";
/// See [`USER`].
pub(crate) const IP: &str = "ip";

impl Entity {
    /// From the protocol's pairs of type and name; no name is the default.
    ///
    /// # Errors
    /// Why these pairs are nobody.
    pub(crate) fn from_parts<'a>(
        parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut entity = Self::default();
        for (kind, name) in parts {
            let part = match kind {
                USER => &mut entity.user,
                CLIENT => &mut entity.client,
                IP => &mut entity.ip,
                other => return Err(format!("entity type {other} is not one of user, client-id and ip")),
            };
            if *part != Part::Absent {
                return Err(format!("entity type {kind} is named twice"));
            }
            *part = match name {
                None => Part::Default,
                Some("") => return Err(format!("the name of entity type {kind} is empty")),
                Some(name) => Part::Named(name.to_owned()),
            };
        }
        match &entity {
            Self { user: Part::Absent, client: Part::Absent, ip: Part::Absent } => {
                Err("the entity is empty".to_owned())
            }
            Self { user: Part::Absent, client: Part::Absent, ip: Part::Named(ip) } => {
                match ip.parse::<std::net::IpAddr>() {
                    Ok(_) => Ok(entity),
                    Err(_) => Err(format!("{ip} is not an address")),
                }
            }
            Self { ip: Part::Absent, .. } | Self { user: Part::Absent, client: Part::Absent, .. } => {
                Ok(entity)
            }
            _ => Err("an address cannot be combined with a user or a client id".to_owned()),
        }
    }

    /// The protocol's pairs.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let sides = [(USER, &self.user), (CLIENT, &self.client), (IP, &self.ip)];
        sides.into_iter().filter_map(|(kind, part)| match part {
            Part::Absent => None,
            Part::Default => Some((kind, None)),
            Part::Named(name) => Some((kind, Some(name.as_str()))),
        })
    }

    /// Whether the quota called `key` may have this value for the entity.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, key: &str, value: f64) -> Result<(), String> {
        self.check_key(key)?;
        if !value.is_finite() || value <= 0.0 {
            return Err(format!("quota {key} must be greater than 0"));
        }
        if WHOLE.contains(&key) && (value - value.round()).abs() > 1e-6 {
            return Err(format!("quota {key} must be a whole number, not {value}"));
        }
        Ok(())
    }

    /// Whether the entity may have a quota called `key`.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_key(&self, key: &str) -> Result<(), String> {
        let known = if self.ip == Part::Absent { CLIENT_KEYS } else { IP_KEYS };
        if known.contains(&key) {
            Ok(())
        } else {
            Err(format!("{key} is not one of the entity's quotas: {}", known.join(", ")))
        }
    }
}

/// Who shares one count of usage: everybody to whom this entity, with its defaults filled in, applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope {
    pub(crate) kind: Kind,
    user: Option<String>,
    client: Option<String>,
}

/// The quota that holds for a client, the most particular one (KIP-55), and whom it shares it with; none without.
pub(crate) fn find(table: &QuotaTable, kind: Kind, user: &str, client: &str) -> Option<(f64, Scope)> {
    let named = |name: &str| Part::Named(name.to_owned());
    let candidates = [
        (named(user), named(client)),
        (named(user), Part::Default),
        (named(user), Part::Absent),
        (Part::Default, named(client)),
        (Part::Default, Part::Default),
        (Part::Default, Part::Absent),
        (Part::Absent, named(client)),
        (Part::Absent, Part::Default),
    ];
    candidates.into_iter().find_map(|(user_part, client_part)| {
        let scope = Scope {
            kind,
            user: (user_part != Part::Absent).then(|| user.to_owned()),
            client: (client_part != Part::Absent).then(|| client.to_owned()),
        };
        let entity = Entity { user: user_part, client: client_part, ip: Part::Absent };
        table.get(&entity)?.get(kind.key()).map(|quota| (*quota, scope))
    })
}

/// The rate at which an address may make connections, if that is limited.
pub(crate) fn find_ip(table: &QuotaTable, ip: &str) -> Option<f64> {
    [Part::Named(ip.to_owned()), Part::Default].into_iter().find_map(|ip| {
        table.get(&Entity { ip, ..Entity::default() })?.get(Kind::ConnectionCreation.key()).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_quota_holds() {
        let entity = |parts: &[(&'static str, Option<&'static str>)]| {
            Entity::from_parts(parts.iter().copied()).unwrap()
        };
        // From the weakest to the strongest; each one added wins over those before it.
        let entities = [
            entity(&[(CLIENT, None)]),
            entity(&[(CLIENT, Some("c"))]),
            entity(&[(USER, None)]),
            entity(&[(USER, None), (CLIENT, None)]),
            entity(&[(USER, None), (CLIENT, Some("c"))]),
            entity(&[(USER, Some("u"))]),
            entity(&[(USER, Some("u")), (CLIENT, None)]),
            entity(&[(USER, Some("u")), (CLIENT, Some("c"))]),
        ];
        let mut table = QuotaTable::new();
        assert_eq!(find(&table, Kind::Fetch, "u", "c"), None);
        for (n, entity) in entities.into_iter().enumerate() {
            table.entry(entity).or_default().insert(Kind::Fetch.key().to_owned(), n as f64);
            assert_eq!(find(&table, Kind::Fetch, "u", "c").unwrap().0, n as f64);
        }
        assert_eq!(find(&table, Kind::Fetch, "v", "d").unwrap().0, 3.0);
        assert_eq!(find(&table, Kind::Produce, "u", "c"), None);
    }

    #[test]
    fn a_users_clients_share_the_users_quota() {
        let user = Entity::from_parts([(USER, None)]).unwrap();
        let table = QuotaTable::from([(user, BTreeMap::from([("request_percentage".to_owned(), 5.0)]))]);
        let scope = |user: &str, client: &str| find(&table, Kind::Request, user, client).unwrap().1;
        assert_eq!(scope("u", "a"), scope("u", "b"));
        assert_ne!(scope("u", "a"), scope("v", "a"));
    }

    #[test]
    fn what_is_nobody_is_refused() {
        for parts in [
            vec![],
            vec![("group", Some("x"))],
            vec![(USER, Some("x")), (USER, None)],
            vec![(USER, Some(""))],
            vec![(IP, Some("1.2.3.4")), (USER, None)],
            vec![(IP, Some("nowhere"))],
        ] {
            assert!(Entity::from_parts(parts.clone()).is_err(), "{parts:?}");
        }
        let ip = Entity::from_parts([(IP, Some("::1"))]).unwrap();
        assert!(ip.check("connection_creation_rate", 5.0).is_ok());
        assert!(ip.check("producer_byte_rate", 5.0).is_err());
        let user = Entity::from_parts([(USER, Some("u"))]).unwrap();
        for (key, value) in [("producer_byte_rate", 0.0), ("producer_byte_rate", 1.5), ("x", 1.0)] {
            assert!(user.check(key, value).is_err(), "{key}={value}");
        }
        assert!(user.check("request_percentage", 0.5).is_ok());
    }
}
