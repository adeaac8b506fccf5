//! The small transforms in one component, under the names of Kafka Connect's.
//!
//! | file | transforms |
//! |---|---|
//! | `cast`, `flatten`, `timestamp_converter` | other types, other shapes, other times |
//! | `extract_field`, `hoist_field`, `insert_field`, `replace_field` | fields in, out, alone, below another |
//! | `header_from`, `insert_header`, `drop_headers` | headers |
//! | `value_to_key` | a key out of the value |
//! | `regex_router`, `timestamp_router` | topics |
//! | `drop` | what a predicate picked (Kafka Connect: `Filter`) |
//! | `part` | key or value as a JSON document |
//! | `time` | patterns of dates |
//! | `check` | what all tests ask |
//!
//! `filter`, `mask` and `rename` are crates of their own and only joined here. What looks at keys or values leaves alone, byte
//! for byte, what it doesn't change; what doesn't look never parses them.

mod cast;
#[cfg(test)]
mod check;
mod drop;
mod drop_headers;
mod extract_field;
mod flatten;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
mod part;
mod regex_router;
mod replace_field;
mod time;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

pub use self::cast::Cast;
pub use self::drop::DropRecords;
pub use self::drop_headers::DropHeaders;
pub use self::extract_field::ExtractField;
pub use self::flatten::Flatten;
pub use self::header_from::HeaderFrom;
pub use self::hoist_field::HoistField;
pub use self::insert_field::InsertField;
pub use self::insert_header::InsertHeader;
pub use self::regex_router::RegexRouter;
pub use self::replace_field::ReplaceField;
pub use self::timestamp_converter::TimestampConverter;
pub use self::timestamp_router::TimestampRouter;
pub use self::value_to_key::ValueToKey;

millrace_sdk::export_transforms! {
    "cast" => Cast,
    "drop" => DropRecords,
    "drop-headers" => DropHeaders,
    "extract-field" => ExtractField,
    "filter" => millrace_connector_filter::FilterTransform,
    "flatten" => Flatten,
    "header-from" => HeaderFrom,
    "hoist-field" => HoistField,
    "insert-field" => InsertField,
    "insert-header" => InsertHeader,
    "mask" => millrace_connector_mask::MaskTransform,
    "regex-router" => RegexRouter,
    "rename" => millrace_connector_rename::RenameTransform,
    "replace-field" => ReplaceField,
    "timestamp-converter" => TimestampConverter,
    "timestamp-router" => TimestampRouter,
    "value-to-key" => ValueToKey,
}
