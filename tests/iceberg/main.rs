//! Tables of Apache Iceberg over two real S3 servers that have no code in common, read back by two engines that have none either: pyiceberg
//! and DuckDB.

mod catalog;
mod data;
mod doctor;
mod expire;
mod faults;
mod folder;
mod lake;
mod merge;
mod sink;
mod upsert;
