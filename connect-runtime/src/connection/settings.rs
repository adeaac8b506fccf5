//! What the settings of several kinds have in common.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Fault, Surroundings};
use crate::spec::{duration, size};

/// What is wrong, collected.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    pub(crate) fn push(&mut self, pointer: &str, message: &str, expected: &str) {
        self.0.push(Fault::new(pointer, message, expected));
    }
}

/// Settings of this kind as a struct: they fit the kind's schema, so that they mostly fit it, too.
pub(crate) fn read<T: DeserializeOwned>(settings: &Map<String, Value>, kind: &str) -> Result<T, Vec<Fault>> {
    T::deserialize(Value::Object(settings.clone())).map_err(|_| {
        let expected = format!("what docs/PIPELINES.md says of `{kind}`");
        vec![Fault::new("", "these settings can't be used", &expected)]
    })
}

/// A duration that is not zero.
pub(crate) fn time(text: Option<String>, pointer: &str, default_s: u64, faults: &mut Faults) -> Duration {
    let found = text.and_then(|text| duration(&text)).unwrap_or(Duration::from_secs(default_s));
    if found.is_zero() {
        faults.push(pointer, "can't be zero", "such as \"10s\"");
    }
    found
}

/// A size up to `most`.
pub(crate) fn bytes(
    text: Option<String>,
    pointer: &str,
    default: u64,
    most: u64,
    faults: &mut Faults,
) -> usize {
    let found = text.and_then(|text| size(&text)).unwrap_or(default);
    if found > most {
        faults.push(pointer, "is too large", &format!("at most {}MiB", most >> 20));
    }
    usize::try_from(found).unwrap_or(usize::MAX)
}

/// The certificates of a PEM file, from the setting `ca`.
pub(crate) fn certificates(
    path: &str,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Vec<CertificateDer<'static>> {
    let text = match around.env.read(&around.folder.join(path)) {
        Ok(text) => text,
        Err(error) => {
            faults.push(
                "/ca",
                &format!("can't be read: {}", error.kind()),
                "a PEM file; paths start from the YAML file's folder",
            );
            return Vec::new();
        }
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => found,
        _ => {
            faults.push("/ca", "holds no certificates", "a PEM file with BEGIN CERTIFICATE in it");
            Vec::new()
        }
    }
}
