//! The sink as the host drives it, against a database that is a function.
