//! Why a broker doesn't start.

use std::io;

use crate::{config, controller};

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is refused.
    #[error("{0}")]
    Config(#[from] config::Error),
    /// The data directory can't be used.
    #[error("{0}")]
    Storage(#[from] millrace_log::Error),
    /// The metadata can't be read or written.
    #[error("{0}")]
    Metadata(String),
    /// The address can't be listened on.
    #[error(
        "cannot listen on {address}: {error}; choose another address with {option}, or stop what uses it"
    )]
    Listen {
        /// What was configured.
        address: String,
        /// The option that says where to listen.
        option: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

impl From<controller::metadata_log::Error> for Error {
    fn from(error: controller::metadata_log::Error) -> Self {
        Self::Metadata(error.to_string())
    }
}

impl From<controller::Refusal> for Error {
    fn from(refusal: controller::Refusal) -> Self {
        Self::Metadata(format!("the broker cannot register: {refusal}"))
    }
}
