//! Decimal numbers as text, without a detour over binary fractions.

use num_bigint::BigInt;

use super::Bad;

/// Longest number, in bytes of its unscaled value. A thousand digits are more than any database has.
const BYTES_MAX: usize = 512;
/// Most digits behind the point, and largest exponent.
const SCALE_MAX: usize = 1_000;

/// An unscaled value, big-endian in two's complement, as `-12.34`.
pub(super) fn put(unscaled: &[u8], scale: usize, out: &mut Vec<u8>) -> Result<(), Bad> {
    check_scale(scale)?;
    if unscaled.len() > BYTES_MAX {
        return Err(Bad::new(format!(
            "a decimal of {} bytes; at most {BYTES_MAX} are taken",
            unscaled.len()
        )));
    }
    let digits = BigInt::from_signed_bytes_be(unscaled).to_string();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    out.extend_from_slice(sign.as_bytes());
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    if scale > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
        out.extend_from_slice(&digits.as_bytes()[whole..]);
    }
    Ok(())
}

/// `-12.34`, also `1e3`, as an unscaled value with at most `precision` digits. No digit is cut off.
pub(super) fn unscaled(text: &str, precision: usize, scale: usize) -> Result<BigInt, Bad> {
    check_scale(scale)?;
    let value = scaled(text, scale)
        .ok_or_else(|| Bad::new(format!("it is no decimal number with {scale} digits behind the point")))?;
    let digits = value.magnitude().to_string().len();
    if digits > precision {
        return Err(Bad::new(format!("{digits} digits are more than the decimal's precision, {precision}")));
    }
    Ok(value)
}

/// A whole number, also written as `1.0` or `1e3`.
pub(super) fn whole(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| i64::try_from(scaled(text, 0)?).ok())
}

/// The number times ten to the power of `scale`, if that is a whole one.
fn scaled(text: &str, scale: usize) -> Option<BigInt> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let count = before.len() + behind.len();
    if count == 0 || count > 3 * BYTES_MAX || !is_digits(before) || !is_digits(behind) {
        return None;
    }
    if exponent.unsigned_abs() as usize > SCALE_MAX {
        return None;
    }
    let mut digits = format!("{before}{behind}");
    // Places to move the point to the right.
    let shift = exponent as i64 + scale as i64 - behind.len() as i64;
    if shift >= 0 {
        digits.extend(std::iter::repeat_n('0', shift as usize));
    } else {
        let cut = digits.len().checked_sub(shift.unsigned_abs() as usize);
        let (kept, lost) = digits.split_at(cut.unwrap_or(0));
        if lost.bytes().any(|digit| digit != b'0') {
            return None;
        }
        digits = kept.to_owned();
    }
    let value: BigInt = if digits.is_empty() { BigInt::ZERO } else { digits.parse().ok()? };
    Some(if negative { -value } else { value })
}

fn check_scale(scale: usize) -> Result<(), Bad> {
    if scale > SCALE_MAX {
        return Err(Bad::new(format!(
            "a decimal with {scale} digits behind the point; at most {SCALE_MAX} are taken"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: i64, scale: usize) -> String {
        let mut out = Vec::new();
        put(&value.to_be_bytes(), scale, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn points_stand_where_they_should() {
        for (value, scale, text) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 3, "-0.005"),
            (1234, 2, "12.34"),
            (-1234, 0, "-1234"),
            (100, 2, "1.00"),
        ] {
            assert_eq!(shown(value, scale), text);
        }
        for (text, value) in [
            ("12.34", 1234),
            ("12.340", 1234),
            ("12", 1200),
            ("1.2e1", 1200),
            ("-0.05", -5),
            ("+1", 100),
            ("120e-1", 1200),
            (".5", 50),
            ("0e9", 0),
        ] {
            assert_eq!(unscaled(text, 20, 2).unwrap(), BigInt::from(value), "{text}");
        }
        for text in ["", "-", ".", "e", "1.234", "1e999999999", "1e-3", "0x1", "1_0", "NaN", "--1", "١"] {
            assert!(unscaled(text, 20, 2).is_err(), "{text}");
        }
        assert!(unscaled("123.45", 4, 2).is_err() && unscaled("1", 5, 5_000).is_err());
        assert_eq!(
            (whole("9223372036854775807"), whole("1e3"), whole("1.50"), whole("9223372036854775808")),
            (Some(i64::MAX), Some(1000), None, None)
        );
        assert!(put(&[1; 600], 0, &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(bytes in prop::collection::vec(any::<u8>(), 1..100), scale in 0usize..60) {
            let mut out = Vec::new();
            put(&bytes, scale, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(unscaled(&text, 1_000, scale).unwrap(), BigInt::from_signed_bytes_be(&bytes));
        }
    }
}
