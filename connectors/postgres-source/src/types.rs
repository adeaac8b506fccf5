//! PostgreSQL's types, as far as it matters for how a value is written.
//!
//! Built-in types are known by their OIDs, which never change; what users and extensions define is looked up in the catalog
//! once. A type that nothing is known of is text, which every type has, so that nothing is ever lost.

use std::collections::BTreeMap;

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// One of the simple ones.
    Scalar(Scalar),
    /// An array, and what separates its elements.
    Array { element: Scalar, delimiter: u8 },
}

/// A type without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// Exact, so a string; `NaN` and infinities are values of it.
    Numeric,
    Bytes,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Xml,
    Enum,
    /// Anything else, in its text format: texts, ranges, composites, addresses, ...
    Text,
}

impl Scalar {
    /// Type and semantic name of Kafka Connect's schemas, as Debezium has them with strings for times and decimals.
    pub(crate) fn schema(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Bool => ("boolean", None),
            Self::Int16 => ("int16", None),
            Self::Int32 => ("int32", None),
            Self::Int64 => ("int64", None),
            Self::Float32 => ("float", None),
            Self::Float64 => ("double", None),
            Self::Bytes => ("bytes", None),
            Self::Numeric | Self::Text => ("string", None),
            Self::Date => ("string", Some("io.debezium.time.IsoDate")),
            Self::Time => ("string", Some("io.debezium.time.IsoTime")),
            Self::TimeTz => ("string", Some("io.debezium.time.ZonedTime")),
            Self::Timestamp => ("string", Some("io.debezium.time.IsoTimestamp")),
            Self::TimestampTz => ("string", Some("io.debezium.time.ZonedTimestamp")),
            Self::Interval => ("string", Some("io.debezium.time.Interval")),
            Self::Uuid => ("string", Some("io.debezium.data.Uuid")),
            Self::Json => ("string", Some("io.debezium.data.Json")),
            Self::Xml => ("string", Some("io.debezium.data.Xml")),
            Self::Enum => ("string", Some("io.debezium.data.Enum")),
        }
    }
}

/// Built-in types, their arrays beside them.
const BUILT_IN: &[(u32, u32, Scalar)] = &[
    (16, 1000, Scalar::Bool),
    (17, 1001, Scalar::Bytes),
    (18, 1002, Scalar::Text), // "char"
    (19, 1003, Scalar::Text), // name
    (20, 1016, Scalar::Int64),
    (21, 1005, Scalar::Int16),
    (23, 1007, Scalar::Int32),
    (25, 1009, Scalar::Text),  // text
    (26, 1028, Scalar::Int64), // oid
    (114, 199, Scalar::Json),
    (142, 143, Scalar::Xml),
    (700, 1021, Scalar::Float32),
    (701, 1022, Scalar::Float64),
    (790, 791, Scalar::Text),   // money
    (829, 1040, Scalar::Text),  // macaddr
    (869, 1041, Scalar::Text),  // inet
    (650, 651, Scalar::Text),   // cidr
    (1042, 1014, Scalar::Text), // char(n)
    (1043, 1015, Scalar::Text), // varchar
    (1082, 1182, Scalar::Date),
    (1083, 1183, Scalar::Time),
    (1114, 1115, Scalar::Timestamp),
    (1184, 1185, Scalar::TimestampTz),
    (1186, 1187, Scalar::Interval),
    (1266, 1270, Scalar::TimeTz),
    (1560, 1561, Scalar::Text), // bit
    (1562, 1563, Scalar::Text), // varbit
    (1700, 1231, Scalar::Numeric),
    (2950, 2951, Scalar::Uuid),
    (3802, 3807, Scalar::Json), // jsonb
];

/// A row of the catalog `pg_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `typtype`: e for an enum, d for a domain.
    pub(crate) kind: u8,
    /// The type of elements, if it is an array of variable length.
    pub(crate) element: Option<u32>,
    /// What separates elements.
    pub(crate) delimiter: u8,
    /// What a domain is made of.
    pub(crate) base: Option<u32>,
}

/// The types seen so far.
#[derive(Debug, Default)]
pub(crate) struct Types {
    catalog: BTreeMap<u32, Option<Entry>>,
}

/// Deepest chain of domains and arrays that is followed.
const DEPTH_MAX: usize = 8;
/// Types kept: past that, they are looked up anew.
const KEPT_MAX: usize = 10_000;

impl Types {
    /// The first type on the way to `oid` that has to be looked up; none: [`Types::find`] knows it.
    pub(crate) fn missing(&self, mut oid: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            if built_in(oid).is_some() {
                return None;
            }
            match self.catalog.get(&oid) {
                None => return Some(oid),
                Some(None) => return None,
                Some(Some(entry)) => match entry.base.or(entry.element) {
                    Some(next) => oid = next,
                    None => return None,
                },
            }
        }
        None
    }

    /// Takes in what the catalog says; none: it knows nothing of it.
    pub(crate) fn learn(&mut self, oid: u32, entry: Option<Entry>) {
        if self.catalog.len() >= KEPT_MAX {
            self.catalog.clear();
        }
        self.catalog.insert(oid, entry);
    }

    /// How values of a type are written.
    pub(crate) fn find(&self, mut oid: u32) -> Type {
        for _ in 0..DEPTH_MAX {
            if let Some(found) = built_in(oid) {
                return found;
            }
            match self.catalog.get(&oid) {
                Some(Some(Entry { base: Some(base), .. })) => oid = *base,
                Some(Some(Entry { element: Some(element), delimiter, .. })) => {
                    return match self.find_scalar(*element) {
                        Some(element) => Type::Array { element, delimiter: *delimiter },
                        // A domain over an array, in an array: its elements are quoted arrays.
                        None => Type::Array { element: Scalar::Text, delimiter: *delimiter },
                    };
                }
                Some(Some(Entry { kind: b'e', .. })) => return Type::Scalar(Scalar::Enum),
                _ => break,
            }
        }
        Type::Scalar(Scalar::Text)
    }

    fn find_scalar(&self, oid: u32) -> Option<Scalar> {
        let mut oid = oid;
        for _ in 0..DEPTH_MAX {
            if let Some(found) = built_in(oid) {
                return if let Type::Scalar(scalar) = found { Some(scalar) } else { None };
            }
            match self.catalog.get(&oid) {
                Some(Some(Entry { base: Some(base), .. })) => oid = *base,
                Some(Some(Entry { element: Some(_), .. })) => return None,
                Some(Some(Entry { kind: b'e', .. })) => return Some(Scalar::Enum),
                _ => break,
            }
        }
        Some(Scalar::Text)
    }
}

fn built_in(oid: u32) -> Option<Type> {
    BUILT_IN.iter().find_map(|(scalar, array, kind)| match oid {
        oid if oid == *scalar => Some(Type::Scalar(*kind)),
        oid if oid == *array => Some(Type::Array { element: *kind, delimiter: b',' }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, element: Option<u32>, base: Option<u32>) -> Option<Entry> {
        Some(Entry { kind, element, delimiter: b',', base })
    }

    #[test]
    fn what_users_define_is_followed_to_its_end() {
        let mut types = Types::default();
        assert_eq!(types.missing(23), None);
        assert_eq!(types.missing(16_400), Some(16_400));
        // A domain over an array of a domain over numeric.
        types.learn(16_400, entry(b'd', None, Some(16_401)));
        assert_eq!(types.missing(16_400), Some(16_401));
        types.learn(16_401, entry(b'b', Some(16_402), None));
        assert_eq!(types.missing(16_400), Some(16_402));
        types.learn(16_402, entry(b'd', None, Some(1700)));
        assert_eq!(types.missing(16_400), None);
        assert_eq!(types.find(16_400), Type::Array { element: Scalar::Numeric, delimiter: b',' });
        types.learn(16_403, entry(b'e', None, None));
        types.learn(16_404, entry(b'b', Some(16_403), None));
        assert_eq!(types.find(16_404), Type::Array { element: Scalar::Enum, delimiter: b',' });
        // Dropped, a composite, and one that goes round in a circle.
        types.learn(16_405, None);
        types.learn(16_406, entry(b'c', None, None));
        types.learn(16_407, entry(b'd', None, Some(16_407)));
        for oid in [16_405, 16_406, 16_407] {
            assert_eq!((types.missing(oid), types.find(oid)), (None, Type::Scalar(Scalar::Text)), "{oid}");
        }
        // An array of domains over arrays.
        types.learn(16_408, entry(b'b', Some(16_400), None));
        assert_eq!(types.find(16_408), Type::Array { element: Scalar::Text, delimiter: b',' });
    }

    #[test]
    fn no_oid_stands_for_two_types() {
        let mut oids: Vec<u32> = BUILT_IN.iter().flat_map(|(scalar, array, _)| [*scalar, *array]).collect();
        oids.sort_unstable();
        assert!(oids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
