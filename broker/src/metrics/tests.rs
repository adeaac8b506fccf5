//! Names, and what recording changes.

use super::*;

#[test]
fn names_are_area_noun_unit() {
    const UNITS: &[&str] = &["bytes", "seconds", "count", "records", "offset", "state"];
    for Metric { name, help } in ALL {
        let base = name.strip_suffix("_total");
        let good = base.unwrap_or(name).split('_').count() >= 2
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && (base.is_some() || UNITS.iter().any(|unit| name.ends_with(unit)));
        assert!(good, "{name} is not <area>_<noun>_<unit>[_total]");
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
    }
    let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn every_metric_is_in_the_handbook() {
    let handbook = include_str!("../../../docs/OPERATIONS.md");
    let missing: Vec<&str> = ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !handbook.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/OPERATIONS.md: {missing:?}");
}

#[test]
fn errors_are_counted_by_api_and_code() {
    let metrics = Metrics::new([ApiKey::Fetch].into_iter());
    for code in [0, 3, 3, -1, i16::MAX] {
        metrics.error(ApiKey::Fetch, code);
        metrics.error(ApiKey::Produce, code);
    }
    let fetch = metrics.apis[index(ApiKey::Fetch)].as_ref().unwrap();
    assert_eq!(fetch.errors().collect::<Vec<_>>(), [(-1, 1), (3, 2), (ERROR_CODE_MAX, 1)]);
}

#[test]
fn a_gauge_follows_its_guards() {
    let gauge = Gauge::default();
    let (first, second) = (gauge.enter(), gauge.enter());
    assert_eq!(gauge.get(), 2);
    drop((first, second));
    assert_eq!(gauge.get(), 0);
}
