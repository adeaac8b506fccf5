//! The binary from outside: exit codes, output, signals, the examples in `configs/`.

mod broker;
mod client;
mod command_line;
mod configs;
mod doctor;
mod log;
mod metrics;
mod preview;
mod support;
mod terminal;
