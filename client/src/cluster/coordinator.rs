//! Finding the broker that coordinates a group or a transaction, and asking it again when it has moved.

use std::sync::Arc;

use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::Request;
use parking_lot::Mutex;

use super::Cluster;
use crate::backoff::{Backoff, BackoffConfig, Retry};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::topic::str_bytes;

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CoordinatorKind {
    Group,
    Transaction,
}

/// The coordinator of one group or transactional id, looked up once and again after it moved.
#[derive(Debug)]
pub(crate) struct Coordinators {
    cluster: Arc<Cluster>,
    kind: CoordinatorKind,
    key: String,
    address: Mutex<Option<(String, u16)>>,
}

impl Coordinators {
    pub(crate) fn new(cluster: Arc<Cluster>, kind: CoordinatorKind, key: &str) -> Self {
        Self { cluster, kind, key: key.to_owned(), address: Mutex::default() }
    }

    /// The group or transactional id, for messages.
    pub(crate) fn subject(&self) -> String {
        match self.kind {
            CoordinatorKind::Group => format!("group {}", self.key),
            CoordinatorKind::Transaction => format!("transactional id {}", self.key),
        }
    }

    /// Looks the coordinator up anew next time.
    pub(crate) fn forget(&self) {
        *self.address.lock() = None;
    }

    /// The connection to the coordinator.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        let known = self.address.lock().clone();
        let (host, port) = match known {
            Some(address) => address,
            None => self.find().await?,
        };
        let connection = self.cluster.connection(&host, port).await;
        if connection.is_err() {
            self.forget();
        }
        connection
    }

    /// Sends a request to the coordinator, once. `check` finds the response's error.
    pub(crate) async fn request<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
    ) -> Result<R::Response> {
        self.request_once(request, check, i16::MAX).await
    }

    async fn request_once<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
        version_max: i16,
    ) -> Result<R::Response> {
        let done: Result<_> = async {
            let response = self.connection().await?.request_up_to(request, version_max).await?;
            check(&response)?;
            Ok(response)
        }
        .await;
        if let Err(error) = &done
            && error.wants_coordinator()
        {
            self.forget();
        }
        done
    }

    /// As [`Self::request`], repeated while that may help.
    pub(crate) async fn request_until_done<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
    ) -> Result<R::Response> {
        self.request_with_pauses(request, check, self.cluster.config().retry_backoff).await
    }

    /// As [`Self::request_until_done`], with pauses of its own.
    pub(crate) async fn request_with_pauses<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
        pauses: BackoffConfig,
    ) -> Result<R::Response> {
        self.request_up_to(request, check, pauses, i16::MAX).await
    }

    /// As [`Self::request_with_pauses`], in a version up to `version_max`.
    pub(crate) async fn request_up_to<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
        pauses: BackoffConfig,
        version_max: i16,
    ) -> Result<R::Response> {
        let backoff = Backoff::new(pauses, self.cluster.random());
        let mut retry = Retry::new(self.cluster.config().api_timeout, backoff);
        loop {
            match self.request_once(request, &check, version_max).await {
                Err(error) if retry.again(&error).await => {}
                done => return done,
            }
        }
    }

    async fn find(&self) -> Result<(String, u16)> {
        let key_type = match self.kind {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        };
        let request =
            FindCoordinatorRequest::default().with_key(str_bytes(&self.key)).with_key_type(key_type);
        let response = self.cluster.request_any(&request).await?;
        let address = self.address_in(&response)?;
        *self.address.lock() = Some(address.clone());
        Ok(address)
    }

    fn address_in(&self, response: &FindCoordinatorResponse) -> Result<(String, u16)> {
        let message = response.error_message.as_deref();
        Error::check_with("FindCoordinator", || self.subject(), response.error_code, message)?;
        let port = u16::try_from(response.port)
            .map_err(|_| Error::malformed(&response.host, format!("coordinator port {}", response.port)))?;
        Ok((response.host.to_string(), port))
    }
}
