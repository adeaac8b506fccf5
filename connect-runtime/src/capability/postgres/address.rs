//! Where servers are: `postgres://` URLs and hosts.

use std::net::IpAddr;

/// Most hosts of one connection.
const HOSTS_MAX: usize = 16;

/// One place where the server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Name or address.
    Tcp(String, u16),
    /// The folder of a Unix socket.
    Unix(String, u16),
}

impl Host {
    /// Of a list with commas; `[...]` around addresses of IPv6, a port of its own or the given one.
    pub(super) fn list(text: &str, port: u16) -> Result<Vec<Self>, String> {
        let hosts: Result<Vec<_>, _> = text.split(',').map(|one| Self::parse(one.trim(), port)).collect();
        match hosts? {
            hosts if hosts.len() > HOSTS_MAX => Err(format!("names more than {HOSTS_MAX} hosts")),
            hosts => Ok(hosts),
        }
    }

    fn parse(text: &str, port: u16) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.to_owned(), port));
        }
        let (name, given) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            None if text.parse::<IpAddr>().is_ok() => (text, None),
            None => text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
        };
        let port = match given.filter(|given| !given.is_empty()) {
            Some(given) => given.parse().ok().filter(|port| *port > 0).ok_or("has a port that is none")?,
            None => port,
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("names no host".to_owned());
        }
        Ok(Self::Tcp(name.to_owned(), port))
    }

    /// Whether what is sent to it stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Unix(..) => true,
            Self::Tcp(name, _) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(folder, port) => write!(f, "{folder}/.s.PGSQL.{port}"),
        }
    }
}

/// The parts of a URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) user: Option<String>,
    pub(super) hosts: Vec<Host>,
    pub(super) database: Option<String>,
}

impl Url {
    /// `postgres://user@host:port,host:port/database`; nothing else, and no password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or("does not begin with postgres://")?;
        if rest.contains(['?', '#']) {
            return Err(
                "has parameters; write them as settings of the connection (sslmode is `tls`)".to_owned()
            );
        }
        let (place, database) =
            rest.split_once('/').map_or((rest, None), |(place, path)| (place, Some(path)));
        let (user, hosts) = place.rsplit_once('@').map_or((None, place), |(user, hosts)| (Some(user), hosts));
        if user.is_some_and(|user| user.contains(':')) {
            return Err("holds a password; write it as `password`, where it is known as a secret".to_owned());
        }
        let hosts: Result<Vec<String>, _> = hosts.split(',').map(decoded).collect();
        let text = |part: &str| Some(decoded(part)).filter(|_| !part.is_empty()).transpose();
        Ok(Self {
            user: user.map_or(Ok(None), text)?,
            hosts: Host::list(&hosts?.join(","), 5432)?,
            database: database.map_or(Ok(None), text)?,
        })
    }
}

/// Without `%` escapes.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("has a % that is no escape")?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(|| "is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("postgresql://a%40b@[::1]:5433,db.example.com/my%20shop").unwrap();
        assert_eq!(url.user.as_deref(), Some("a@b"));
        assert_eq!(url.hosts, [Host::Tcp("::1".into(), 5433), Host::Tcp("db.example.com".into(), 5432)]);
        assert_eq!(url.database.as_deref(), Some("my shop"));
        let url = Url::parse("postgres://%2Fvar%2Frun%2Fpostgresql").unwrap();
        assert_eq!(url.hosts, [Host::Unix("/var/run/postgresql".into(), 5432)]);
        assert_eq!((url.user, url.database), (None, None));
    }

    #[test]
    fn what_is_no_url_is_said() {
        for (text, why) in [
            ("db.example.com", "does not begin"),
            ("postgres://u:hunter2@h/d", "holds a password"),
            ("postgres://u@h/d?sslmode=require", "has parameters"),
            ("postgres://u@h:0/d", "a port that is none"),
            ("postgres://u@h:x/d", "a port that is none"),
            ("postgres://u@/d", "names no host"),
            ("postgres://u@h%2/d", "no escape"),
            ("postgres://u@h%zé/d", "no escape"),
            ("postgres://u@h/%ff", "is no text"),
        ] {
            let said = Url::parse(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("hunter2"), "{text}: {said}");
        }
    }

    #[test]
    fn what_stays_here_is_local() {
        for (text, local) in
            [("localhost", true), ("127.0.0.2", true), ("::1", true), ("/tmp", true), ("10.0.0.1", false)]
        {
            assert_eq!(Host::list(text, 5432).unwrap()[0].is_local(), local, "{text}");
        }
    }
}
