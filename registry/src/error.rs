//! What a call is refused with: Confluent's codes and words, so that its clients understand them.

/// An answer other than 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; error code {code}")]
pub(crate) struct Refused {
    /// Confluent's code: the HTTP status, or that and two digits.
    pub(crate) code: u32,
    /// For people.
    pub(crate) message: String,
}

impl Refused {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The HTTP status that goes with the code.
    pub(crate) fn status(&self) -> u16 {
        let status = if self.code >= 1_000 { self.code / 100 } else { self.code };
        u16::try_from(status).unwrap_or(500)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "HTTP 404 Not Found")
    }

    pub(crate) fn method() -> Self {
        Self::new(405, "HTTP 405 Method Not Allowed")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, format!("the request's body has more than {limit} bytes"))
    }

    pub(crate) fn subject(subject: &str) -> Self {
        Self::new(40401, format!("Subject '{subject}' not found."))
    }

    pub(crate) fn version(version: impl std::fmt::Display) -> Self {
        Self::new(40402, format!("Version {version} not found."))
    }

    pub(crate) fn schema() -> Self {
        Self::new(40403, "Schema not found")
    }

    pub(crate) fn schema_id(id: u32) -> Self {
        Self::new(40403, format!("Schema {id} not found"))
    }

    pub(crate) fn subject_deleted(subject: &str) -> Self {
        Self::new(
            40404,
            format!("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"),
        )
    }

    pub(crate) fn subject_not_deleted(subject: &str) -> Self {
        Self::new(
            40405,
            format!("Subject '{subject}' was not deleted first before being permanently deleted"),
        )
    }

    pub(crate) fn version_deleted(subject: &str, version: u32) -> Self {
        Self::new(
            40406,
            format!(
                "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
            ),
        )
    }

    pub(crate) fn version_not_deleted(subject: &str, version: u32) -> Self {
        Self::new(
            40407,
            format!(
                "Subject '{subject}' Version {version} was not deleted first before being permanently deleted"
            ),
        )
    }

    pub(crate) fn no_config(subject: &str) -> Self {
        Self::new(40408, format!("Subject '{subject}' does not have subject-level compatibility configured"))
    }

    pub(crate) fn no_mode(subject: &str) -> Self {
        Self::new(40409, format!("Subject '{subject}' does not have subject-level mode configured"))
    }

    pub(crate) fn incompatible(differences: &[String], level: &str) -> Self {
        Self::new(
            409,
            format!(
                "Schema being registered is incompatible with an earlier schema; details: [{}], compatibility: '{level}'",
                differences.join("; ")
            ),
        )
    }

    pub(crate) fn invalid_schema(message: impl std::fmt::Display) -> Self {
        Self::new(42201, format!("Invalid schema: {message}"))
    }

    pub(crate) fn invalid_version(version: &str) -> Self {
        Self::new(
            42202,
            format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            ),
        )
    }

    pub(crate) fn invalid_level() -> Self {
        Self::new(
            42203,
            "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive",
        )
    }

    pub(crate) fn invalid_mode() -> Self {
        Self::new(42204, "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE and IMPORT")
    }

    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(42205, message)
    }

    pub(crate) fn referenced(subject: &str, version: u32) -> Self {
        Self::new(
            42206,
            format!(
                "One or more references exist to the schema {{magic=1,keytype=SCHEMA,subject={subject},version={version}}}."
            ),
        )
    }

    pub(crate) fn invalid_subject(subject: &str) -> Self {
        let shown: String = subject.chars().take(100).collect();
        Self::new(42208, format!("The specified subject '{}' is not a valid.", shown.escape_debug()))
    }

    /// A setting or a field of which the meaning would be lost.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new(422, format!("{what} is not supported by this registry"))
    }

    pub(crate) fn store(error: impl std::fmt::Display) -> Self {
        Self::new(50001, format!("Error in the backend data store: {error}"))
    }

    pub(crate) fn timeout() -> Self {
        Self::new(50002, "Operation timed out; it may have happened all the same")
    }
}
