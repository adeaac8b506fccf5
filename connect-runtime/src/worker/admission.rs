//! Whether a task that has fenced its predecessor may go on.
//!
//! Between the decision to start a task and the moment that it holds its transactional id, its connector may have been planned
//! anew elsewhere, and the other task of that id been fenced by this one. So the question is asked after the fencing: whoever planned
//! anew has said so before it fenced, and this task reads it.

use std::sync::Arc;

use millrace_client::transport::BoxFuture;

use crate::failure::TaskError;

/// The answer, or why it is not known.
pub(crate) type Answer = Result<bool, millrace_client::Error>;

/// Asks whoever knows; the default admits everything, for plans that nobody changes.
#[derive(Clone, Default)]
pub(crate) struct Admission(Option<Arc<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>>);

impl Admission {
    pub(crate) fn asking(ask: impl Fn() -> BoxFuture<'static, Answer> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// Whether there is somebody to ask.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// Comes back without error if the task may go on.
    pub(crate) async fn check(&self, connector: &str, task: u32) -> Result<(), TaskError> {
        let Some(ask) = &self.0 else { return Ok(()) };
        let connector = connector.to_owned();
        match ask().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(TaskError::Superseded { connector, task }),
            Err(source) => {
                let doing = "reading whether its connector's tasks are still these";
                Err(TaskError::Cluster { connector, task, doing, source })
            }
        }
    }
}
