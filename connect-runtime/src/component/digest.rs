//! Which component it is: the SHA-256 of its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How many characters of it people are shown.
const SHORT_CHARS: usize = 12;

/// The SHA-256 of a component's bytes; as text `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Enough of it to tell versions apart by eye.
    #[must_use]
    pub fn short(&self) -> String {
        format!("sha256:{}", &self.hex()[..SHORT_CHARS])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no digest; expected sha256: and 64 hexadecimal digits")]
pub struct NotADigest(String);

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        let bytes = text
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let bytes = bytes.and_then(|hex| {
            let mut bytes = [0; 32];
            for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
                *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
            }
            Some(bytes)
        });
        bytes.map(Self).ok_or(NotADigest(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_and_back() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((digest.to_string().as_str(), digest.short().as_str()), (text, "sha256:e3b0c44298fc"));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("{text:?}"));
        assert_eq!(serde_json::from_str::<Digest>(&format!("{text:?}")).unwrap(), digest);
        let signed = format!("sha256:{}", "+1".repeat(32));
        for wrong in ["", "sha256:", &text[7..], &text[..70], "sha256:ä", &text.replace('e', "x"), &signed] {
            assert!(Digest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
