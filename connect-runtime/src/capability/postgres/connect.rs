//! How a session begins: a socket, TLS, who we are, what we want of the server.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postgres_protocol::authentication;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Host;
use super::problem::{self, Said};
use super::session::Session;
use super::tls;
use super::wire::{Broken, Socket, Wire, garbled};
use crate::component::bindings::millrace::connect::postgres::{Mode, Problem};
use crate::component::bindings::millrace::connect::types::Error as GuestError;

/// What is waited for beyond the server's own limit, so that its word comes first.
const GRACE: Duration = Duration::from_secs(5);
/// How long a socket is silent before it is probed, between probes, and how many of them: half a minute until a dead peer shows.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Most messages until a session stands.
const GREETINGS_MAX: usize = 1000;
/// Most rounds of an authentication.
const AUTH_ROUNDS_MAX: usize = 10;

/// What a connection bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) sessions: usize,
    pub(super) result_bytes: usize,
}

/// A connection of kind `postgres`.
pub(crate) struct Target {
    pub(super) hosts: Vec<Host>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) tls: tls::Mode,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) primary: bool,
    pub(super) application_name: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) limits: Limits,
    /// Made by the first session that needs it.
    pub(super) client: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Target {
    /// Most sessions that a task may have open.
    pub(super) fn sessions(&self) -> usize {
        self.limits.sessions
    }

    /// A session with the first host that will do.
    pub(super) async fn open(&self, mode: Mode) -> Result<Session, Problem> {
        let mut last = None;
        for host in &self.hosts {
            let place = format!("{host}/{}", self.database);
            let limit = self.limits.connect_timeout;
            let opened = match tokio::time::timeout(limit, self.try_host(host, &place, mode)).await {
                Ok(opened) => opened,
                Err(_) => {
                    Err(problem::lost("postgres.timeout", format!("{place}: no session within {limit:?}")))
                }
            };
            match opened {
                Err(Problem::Session(GuestError::Retriable(failure))) => {
                    last = Some(Problem::Session(GuestError::Retriable(failure)));
                }
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| problem::fatal("postgres.connect", "the connection names no host".into())))
    }

    async fn try_host(&self, host: &Host, place: &str, mode: Mode) -> Result<Session, Problem> {
        let (socket, is_private) = self.socket(host, place).await?;
        let wire = Wire::new(socket, self.limits.result_bytes);
        let silence = self.limits.statement_timeout.saturating_add(GRACE);
        let mut session = Session::new(place.to_owned(), wire, silence, self.limits.result_bytes, mode);
        self.greet(&mut session, mode, is_private).await?;
        match session.run(&self.preparations()).await {
            Ok(()) => {}
            Err(Problem::Statement(error)) => {
                let message = format!("{place}: a setting of `parameters` is refused: {}", error.message);
                return Err(problem::fatal(&format!("sql.{}", error.code), message));
            }
            Err(over) => return Err(over),
        }
        if self.primary {
            let asked = session.rows_of("SELECT pg_is_in_recovery()").await?;
            if asked.data != b"f" {
                return Err(problem::lost("postgres.standby", format!("{place} is not the primary")));
            }
        }
        Ok(session)
    }

    /// A socket; whether nobody can listen to it.
    async fn socket(&self, host: &Host, place: &str) -> Result<(Box<dyn Socket>, bool), Problem> {
        let unreachable = |error: io::Error| {
            problem::lost("postgres.connect", format!("{place} can't be reached: {error}"))
        };
        let (name, port) = match host {
            Host::Unix(..) => {
                let stream = UnixStream::connect(host.to_string()).await.map_err(unreachable)?;
                return Ok((Box::new(stream), true));
            }
            Host::Tcp(name, port) => (name, *port),
        };
        let mut stream = TcpStream::connect((name.as_str(), port)).await.map_err(unreachable)?;
        tune(&stream).map_err(unreachable)?;
        if self.tls == tls::Mode::Disable {
            return Ok((Box::new(stream), false));
        }
        let mut request = bytes::BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(unreachable)?;
        // One byte and no more: what a man in the middle put behind it would be taken for the server's.
        match stream.read_u8().await.map_err(unreachable)? {
            b'S' => {}
            b'N' if self.tls == tls::Mode::Prefer => return Ok((Box::new(stream), false)),
            b'N' => {
                let message =
                    format!("{place} has no TLS; turn it on there (ssl = on), or set `tls: disable`");
                return Err(problem::fatal("postgres.tls", message));
            }
            _ => {
                let message = format!("{place} does not answer as PostgreSQL does; is it one?");
                return Err(problem::fatal("postgres.protocol", message));
            }
        }
        let server = ServerName::try_from(name.clone()).map_err(|_| {
            problem::fatal("postgres.tls", format!("{place}: no name that a certificate can have"))
        })?;
        let connector = TlsConnector::from(self.client()?);
        let stream = connector.connect(server, stream).await.map_err(|error| {
            let message = format!("{place}: TLS failed: {error}");
            // What rustls itself says (no trust, no common version) stays as it is; a broken socket doesn't.
            match error.kind() {
                io::ErrorKind::InvalidData => problem::fatal("postgres.tls", message),
                _ => problem::lost("postgres.tls", message),
            }
        })?;
        Ok((Box::new(stream), true))
    }

    fn client(&self) -> Result<Arc<rustls::ClientConfig>, Problem> {
        if let Some(client) = self.client.get() {
            return Ok(Arc::clone(client));
        }
        let made = tls::config(self.tls, &self.roots).map_err(|why| problem::fatal("postgres.tls", why))?;
        Ok(Arc::clone(self.client.get_or_init(|| Arc::new(made))))
    }

    /// Says who we are, proves it, and waits until the server is ready.
    async fn greet(&self, session: &mut Session, mode: Mode, is_private: bool) -> Result<(), Problem> {
        let mut parameters = vec![
            ("user", self.user.as_str()),
            ("database", self.database.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", self.application_name.as_str()),
        ];
        if mode == Mode::Replication {
            parameters.push(("replication", "database"));
        }
        let place = session.place.clone();
        let broken = |error: Broken| problem::broken(&place, &error);
        let limit = self.limits.connect_timeout;
        let wire = &mut session.wire;
        frontend::startup_message(parameters, &mut wire.output).map_err(|error| broken(error.into()))?;
        wire.flush(limit).await.map_err(broken)?;
        self.authenticate(wire, &place, is_private).await?;
        for _ in 0..GREETINGS_MAX {
            wire.front(limit).await.map_err(broken)?;
            match wire.take().map_err(broken)? {
                Message::ParameterStatus(body) => {
                    if let (Ok(name), Ok(value)) = (body.name(), body.value()) {
                        session.parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(Said::read(body.fields()).ending(&place)),
                _ => break,
            }
        }
        Err(broken(Broken::Protocol("it is not ready after the authentication".to_owned())))
    }

    async fn authenticate(&self, wire: &mut Wire, place: &str, is_private: bool) -> Result<(), Problem> {
        let broken = |error: Broken| problem::broken(place, &error);
        let limit = self.limits.connect_timeout;
        let (mut scram, mut is_proven): (Option<ScramSha256>, bool) = (None, false);
        for _ in 0..AUTH_ROUNDS_MAX {
            wire.front(limit).await.map_err(broken)?;
            match wire.take().map_err(broken)? {
                // Only who knows the password, too, may end an exchange over it.
                Message::AuthenticationOk if scram.is_none() || is_proven => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let password = self.password(place)?;
                    if !is_private {
                        let message = format!(
                            "{place} wants the password in clear, over a socket without TLS; set `tls: require` or more, or use scram-sha-256 there"
                        );
                        return Err(problem::fatal("postgres.auth", message));
                    }
                    frontend::password_message(password, &mut wire.output).map_err(|e| broken(e.into()))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash =
                        authentication::md5_hash(self.user.as_bytes(), self.password(place)?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut wire.output)
                        .map_err(|e| broken(e.into()))?;
                }
                Message::AuthenticationSasl(body) => {
                    use fallible_iterator::FallibleIterator;
                    let offered = body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256));
                    if !offered.map_err(|error| broken(garbled(error)))? {
                        let message =
                            format!("{place} offers no SCRAM-SHA-256, which is the only one we know");
                        return Err(problem::fatal("postgres.auth", message));
                    }
                    let begun = ScramSha256::new(self.password(place)?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut wire.output)
                        .map_err(|e| broken(e.into()))?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let Some(scram) = &mut scram else { break };
                    scram.update(body.data()).map_err(|error| broken(garbled(error)))?;
                    frontend::sasl_response(scram.message(), &mut wire.output)
                        .map_err(|e| broken(e.into()))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let Some(scram) = &mut scram else { break };
                    scram.finish(body.data()).map_err(|_| {
                        let message =
                            format!("{place} does not know the password itself; it is not the server");
                        problem::fatal("postgres.auth", message)
                    })?;
                    is_proven = true;
                }
                Message::ErrorResponse(body) => return Err(Said::read(body.fields()).ending(place)),
                Message::NoticeResponse(_) => {}
                _ => {
                    let message = format!(
                        "{place} wants an authentication that is not supported here; passwords (scram-sha-256, md5) and trust are"
                    );
                    return Err(problem::fatal("postgres.auth", message));
                }
            }
            wire.flush(limit).await.map_err(broken)?;
        }
        Err(broken(Broken::Protocol("its authentication does not end".to_owned())))
    }

    fn password(&self, place: &str) -> Result<&[u8], Problem> {
        self.password.as_deref().map(str::as_bytes).ok_or_else(|| {
            let message = format!("{place} wants a password; give the connection one");
            problem::fatal("postgres.auth", message)
        })
    }

    /// What every session starts with: texts that lose nothing and look the same everywhere, then what the user wants.
    fn preparations(&self) -> String {
        let mut sql = String::from(
            "SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; \
             SET extra_float_digits = 3; SET standard_conforming_strings = on; ",
        );
        sql.push_str(&format!("SET statement_timeout = {}; ", self.limits.statement_timeout.as_millis()));
        for (name, value) in &self.parameters {
            sql.push_str(&format!("SET {name} = {}; ", setting(name, value)));
        }
        sql
    }
}

/// A value for SET. Settings that are lists take each part by itself: one literal would be one name.
fn setting(name: &str, value: &str) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match name.to_ascii_lowercase().as_str() {
        "search_path" | "temp_tablespaces" => {
            let parts: Vec<_> = value.split(',').map(|part| literal(part.trim().trim_matches('"'))).collect();
            parts.join(", ")
        }
        _ => literal(value),
    }
}

/// Small messages at once; a peer that is gone shows.
fn tune(stream: &TcpStream) -> io::Result<()> {
    let (idle, interval, probes) = KEEPALIVE;
    let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
