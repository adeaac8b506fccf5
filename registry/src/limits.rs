//! What a registry takes at most. Past a limit a change is refused with 422; what already stands in the topic is read all the same.

/// Largest body of a request: the largest schema, quoted.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest name of a subject, in bytes.
pub(crate) const SUBJECT_BYTES_MAX: usize = 512;
/// Most subjects.
pub(crate) const SUBJECTS_MAX: usize = 100_000;
/// Most versions of one subject, deleted ones included.
pub(crate) const VERSIONS_MAX: usize = 10_000;
/// Most references of one schema.
pub(crate) const REFERENCES_MAX: usize = 50;
/// Most bytes of all schemas together.
pub(crate) const STATE_BYTES_MAX: usize = 256 << 20;
/// Most schemas in one listing.
pub(crate) const LISTED_MAX: usize = 1_000;
