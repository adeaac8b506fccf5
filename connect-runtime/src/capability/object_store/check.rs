//! Whether a bucket is reached, for `millrace doctor`: a list of one object at most, below the connection's prefix. Changes nothing.

use super::client::Target;
use crate::component::bindings::millrace::connect::object_store::Refusal;
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::doctor::{Reached, Unreached};

/// See [`crate::doctor`].
pub(crate) async fn check(target: &Target) -> Result<Reached, Unreached> {
    let listing = target.list("", None, 1).await.map_err(unreached)?;
    let objects = if listing.objects.is_empty() { "no objects yet" } else { "objects" };
    let said = format!("bucket {} is there and may be listed; it has {objects}", target.bucket);
    Ok(Reached { said, but: None, clock: None })
}

fn unreached(refusal: Refusal) -> Unreached {
    let (said, mend) = match refusal {
        Refusal::Denied(said) => {
            (said, "correct the credentials of the connection, or their rights (s3:ListBucket)")
        }
        Refusal::Missing(said) | Refusal::Precondition(said) => {
            (said, "correct `bucket` of the connection, or make it")
        }
        Refusal::Failed(GuestError::Fatal(failure)) if failure.code == "s3.NoSuchBucket" => {
            (failure.message, "correct `bucket` of the connection, or make it")
        }
        Refusal::Failed(GuestError::Retriable(failure)) => (
            format!("{} ({})", failure.message, failure.code),
            "start the store, correct `endpoint` of the connection, or look at the network between here and there",
        ),
        Refusal::Failed(GuestError::Fatal(failure)) => {
            (format!("{} ({})", failure.message, failure.code), "correct the connection")
        }
    };
    Unreached { said, mend: mend.to_owned() }
}
