//! The bundled connector postgres-source.
mod envelope;
mod frame;
mod lsn;
mod pgoutput;
mod position;
mod pull;
mod schema;
mod settings;
mod shape;
mod snapshot;
mod tables;
mod types;
mod upstream;
mod value;
