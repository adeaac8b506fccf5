//! Values into partition values (specification, "Partition Transforms").

use std::fmt;

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Type;
use millrace_sdk::calendar::civil;

use super::hash::hash;

const MICROS_PER_HOUR: i64 = 3_600_000_000;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// What is done to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    Identity,
    /// Years since 1970.
    Year,
    /// Months since 1970.
    Month,
    /// The day.
    Day,
    /// Hours since 1970.
    Hour,
    /// A hash, modulo this.
    Bucket(u32),
    /// Numbers down to a multiple of this; text and bytes to so many.
    Truncate(u32),
}

/// Takes `column`, `day(column)` or `bucket(column, 16)` apart.
pub fn parse(text: &str) -> Result<(Transform, &str), String> {
    let Some((name, rest)) = text.split_once('(') else { return Ok((Transform::Identity, text.trim())) };
    let inner = rest.strip_suffix(')').ok_or_else(|| format!("{text}: a bracket that does not end"))?;
    let (path, width) = match inner.rsplit_once(',') {
        Some((path, width)) => (path.trim(), Some(width.trim())),
        None => (inner.trim(), None),
    };
    let wide = || {
        let width =
            width.and_then(|width| width.parse().ok()).filter(|width| (1..=i32::MAX as u32).contains(width));
        width.ok_or_else(|| {
            format!("{text}: a number above 0 behind the column is wanted, such as {name}(column, 16)")
        })
    };
    let plain = |transform| match width {
        None => Ok(transform),
        Some(_) => Err(format!("{text}: {name} takes a column and nothing else")),
    };
    let transform = match name.trim() {
        "identity" => plain(Transform::Identity)?,
        "year" | "years" => plain(Transform::Year)?,
        "month" | "months" => plain(Transform::Month)?,
        "day" | "days" => plain(Transform::Day)?,
        "hour" | "hours" => plain(Transform::Hour)?,
        "bucket" => Transform::Bucket(wide()?),
        "truncate" => Transform::Truncate(wide()?),
        other => {
            return Err(format!(
                "{text}: {other} is not known; year, month, day, hour, bucket, truncate and identity are"
            ));
        }
    };
    Ok((transform, path))
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Year => f.write_str("year"),
            Self::Month => f.write_str("month"),
            Self::Day => f.write_str("day"),
            Self::Hour => f.write_str("hour"),
            Self::Bucket(count) => write!(f, "bucket[{count}]"),
            Self::Truncate(width) => write!(f, "truncate[{width}]"),
        }
    }
}

impl Transform {
    /// Reads what [`fmt::Display`] writes.
    pub fn read(text: &str) -> Option<Self> {
        Some(match text {
            "identity" => Self::Identity,
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            "hour" => Self::Hour,
            _ => {
                let (name, width) = text.strip_suffix(']')?.split_once('[')?;
                let width = width.parse().ok().filter(|width| *width > 0)?;
                match name {
                    "bucket" => Self::Bucket(width),
                    "truncate" => Self::Truncate(width),
                    _ => return None,
                }
            }
        })
    }

    /// What [`parse`] reads.
    pub(super) fn told(self, path: &str) -> String {
        match self {
            Self::Identity => path.to_owned(),
            Self::Bucket(width) => format!("bucket({path}, {width})"),
            Self::Truncate(width) => format!("truncate({path}, {width})"),
            plain => format!("{plain}({path})"),
        }
    }

    /// What other writers put behind a column's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Year => "_year",
            Self::Month => "_month",
            Self::Day => "_day",
            Self::Hour => "_hour",
            Self::Bucket(_) => "_bucket",
            Self::Truncate(_) => "_trunc",
        }
    }

    /// The type of its values, for a column of this type.
    pub fn result(self, ty: &Type) -> Result<Type, String> {
        let is_moment = matches!(ty, Type::Date | Type::Timestamp { .. });
        match self {
            // Manifests would have them as Avro's fixed.
            Self::Identity | Self::Truncate(_) if matches!(ty, Type::Decimal { .. }) => {
                Err("rows are not divided by decimals here, only by buckets of them".to_owned())
            }
            Self::Identity => Ok(ty.clone()),
            Self::Hour if *ty == Type::Date => Err("a date has no hours".to_owned()),
            Self::Day if is_moment => Ok(Type::Date),
            Self::Year | Self::Month | Self::Hour if is_moment => Ok(Type::Int),
            Self::Year | Self::Month | Self::Day | Self::Hour => {
                Err(format!("{self} needs a date or a timestamp; a `schema` gives columns types"))
            }
            Self::Bucket(_) => match ty {
                Type::Boolean | Type::Float | Type::Double => Err("such values have no buckets".to_owned()),
                _ => Ok(Type::Int),
            },
            Self::Truncate(_) => match ty {
                Type::Int | Type::Long | Type::Text | Type::Bytes => Ok(ty.clone()),
                _ => Err("whole numbers, text and bytes can be truncated".to_owned()),
            },
        }
    }

    /// The partition value; none for null.
    pub(super) fn apply(self, value: &Datum, ty: &Type) -> Option<Datum> {
        Some(match (self, value) {
            (_, Datum::Null) => return None,
            (Self::Identity, value) => value.clone(),
            (Self::Bucket(count), value) => {
                Datum::Int((hash(value)? & i32::MAX) % i32::try_from(count).unwrap_or(i32::MAX))
            }
            (Self::Truncate(width), Datum::Int(value)) => {
                let width = i32::try_from(width).unwrap_or(i32::MAX);
                Datum::Int(value.wrapping_sub(value.rem_euclid(width)))
            }
            (Self::Truncate(width), Datum::Long(value)) => {
                Datum::Long(value.wrapping_sub(value.rem_euclid(width.into())))
            }
            (Self::Truncate(width), Datum::Text(text)) => {
                Datum::Text(text.chars().take(width as usize).collect())
            }
            (Self::Truncate(width), Datum::Bytes(bytes)) => {
                Datum::Bytes(bytes.iter().copied().take(width as usize).collect())
            }
            (Self::Year, value) => Datum::Int(months(days(value, ty)?).0),
            (Self::Month, value) => {
                let (years, month) = months(days(value, ty)?);
                Datum::Int(years.checked_mul(12)?.checked_add(month)?)
            }
            (Self::Day, value) => Datum::Int(i32::try_from(days(value, ty)?).ok()?),
            (Self::Hour, Datum::Long(micros)) => {
                Datum::Int(i32::try_from(micros.div_euclid(MICROS_PER_HOUR)).ok()?)
            }
            _ => return None,
        })
    }
}

/// Days since the epoch.
fn days(value: &Datum, ty: &Type) -> Option<i64> {
    match (value, ty) {
        (Datum::Int(days), Type::Date) => Some(i64::from(*days)),
        (Datum::Long(micros), Type::Timestamp { .. }) => Some(micros.div_euclid(MICROS_PER_DAY)),
        _ => None,
    }
}

/// Years since 1970, and the month from 0, of days since the epoch.
fn months(days: i64) -> (i32, i32) {
    let (year, month, _) = civil(days);
    (i32::try_from(year - 1970).unwrap_or(i32::MAX), month as i32 - 1)
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::types::Unit;
    use proptest::prelude::*;

    use super::*;

    const MOMENT: Type = Type::Timestamp { unit: Unit::Micros, local: false };

    #[test]
    fn times_are_counted_from_the_epoch_down_too() {
        let of = |transform: Transform, micros: i64| transform.apply(&Datum::Long(micros), &MOMENT);
        // 2017-11-16T22:31:08Z, as the specification has it.
        let moment = 1_510_871_468_000_000;
        assert_eq!(of(Transform::Year, moment), Some(Datum::Int(47)));
        assert_eq!(of(Transform::Month, moment), Some(Datum::Int(574)));
        assert_eq!(of(Transform::Day, moment), Some(Datum::Int(17_486)));
        assert_eq!(of(Transform::Hour, moment), Some(Datum::Int(419_686)));
        for transform in [Transform::Year, Transform::Month, Transform::Day, Transform::Hour] {
            assert_eq!(of(transform, -1), Some(Datum::Int(-1)), "{transform}");
            assert_eq!(of(transform, 0), Some(Datum::Int(0)), "{transform}");
        }
        assert_eq!(Transform::Month.apply(&Datum::Int(-32), &Type::Date), Some(Datum::Int(-2)));
        assert_eq!(Transform::Day.apply(&Datum::Null, &MOMENT), None);
    }

    #[test]
    fn the_rest_is_cut_off() {
        let cut = |value: Datum| Transform::Truncate(10).apply(&value, &Type::Long);
        assert_eq!(cut(Datum::Int(-1)), Some(Datum::Int(-10)));
        assert_eq!(cut(Datum::Long(17)), Some(Datum::Long(10)));
        assert_eq!(cut(Datum::Text("é".repeat(12))), Some(Datum::Text("é".repeat(10))));
        assert_eq!(Transform::read("truncate[10]"), Some(Transform::Truncate(10)));
        assert_eq!(Transform::read("void"), None);
    }

    proptest! {
        /// A day's month is that of the days around it, or the next one begins: no day is left out, none comes twice.
        #[test]
        fn days_and_months_go_on(day in -1_000_000_i64..1_000_000) {
            let ((year, month), (next_year, next_month)) = (months(day), months(day + 1));
            let (here, next) = (year * 12 + month, next_year * 12 + next_month);
            prop_assert!((0..12).contains(&month) && (next == here || next == here + 1));
            prop_assert_ne!(months(day + 31), (year, month));
        }
    }
}
