//! Names that columns can have. A table may have `a` and `A`, but Spark, Trino, DuckDB and others read such a table wrongly or not at all, and
//! nobody can ask for a column without a name: neither is made here.

use std::collections::BTreeMap;

use millrace_connector_encode::types::infer::Shape;

/// Why there can be no column of this name beside these.
pub fn fault<'n>(name: &str, others: impl IntoIterator<Item = &'n str>) -> Option<String> {
    if name.is_empty() {
        return Some("a field without a name can't be a column".to_owned());
    }
    let folded = name.to_lowercase();
    let other = others.into_iter().find(|other| *other != name && other.to_lowercase() == folded)?;
    Some(same(other))
}

fn same(other: &str) -> String {
    format!("the table has {other}, and engines don't tell names apart that differ in case only")
}

/// A name in a message.
pub fn shown(name: &str) -> &str {
    if name.is_empty() { "\"\"" } else { name }
}

/// Checks that new columns can stand beside these and each other.
pub fn check<'n>(
    known: impl IntoIterator<Item = &'n str>,
    new: impl IntoIterator<Item = &'n str>,
) -> Result<(), String> {
    let mut folded: BTreeMap<String, &str> =
        known.into_iter().map(|name| (name.to_lowercase(), name)).collect();
    for name in new {
        if let Some(why) = fault(name, None) {
            return Err(format!("{}: {why}", shown(name)));
        }
        if let Some(other) = folded.insert(name.to_lowercase(), name) {
            return Err(format!("{name}: {}", same(other)));
        }
    }
    Ok(())
}

/// Whether all that a shape has can be columns.
pub fn fit(shape: &Shape) -> bool {
    match shape {
        Shape::List(element) => fit(element),
        Shape::Struct(members) => {
            check(None, members.iter().map(|(name, _)| name.as_str())).is_ok()
                && members.iter().all(|(_, shape)| fit(shape))
        }
        _ => true,
    }
}
