//! Object stores, over two real S3 servers that have no code in common, as users run pipelines to them.
//!
//! Answers that no real server gives on demand, and limits, are tested beside the host's part (`connect-runtime`).

mod capability;
mod data;
mod doctor;
mod faults;
mod sink;
mod source;
