//! Decimals: digits without a point, in 128 bits.

/// The digits of a number as text, with `scale` of them behind the point. None: it has more behind it, or too many altogether.
pub(super) fn parse(text: &str, scale: u32) -> Option<i128> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 100)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        digits = digits.checked_mul(10)?.checked_add(digit)?;
    }
    let mut behind = i32::try_from(fraction.len()).ok()? - exponent;
    let wanted = i32::try_from(scale).ok()?;
    while behind < wanted {
        digits = digits.checked_mul(10)?;
        behind += 1;
    }
    while behind > wanted {
        // Zeros behind the last digit say nothing.
        digits = (digits % 10 == 0).then_some(digits / 10)?;
        behind -= 1;
    }
    Some(sign * digits)
}

/// Two's complement, the most significant byte first.
pub fn unscaled(bytes: &[u8]) -> Option<i128> {
    let fill = if *bytes.first()? >= 0x80 { 0xff } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    let (front, bytes) = bytes.split_at(spare);
    // More bytes than 128 bits may only repeat the sign.
    if front.iter().any(|byte| *byte != fill) || (spare > 0 && (bytes[0] >= 0x80) != (fill == 0xff)) {
        return None;
    }
    let mut whole = [fill; 16];
    whole[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

/// Whether it has no more than so many digits.
pub fn fits(digits: i128, precision: u32) -> bool {
    10_i128.checked_pow(precision).is_none_or(|most| digits.unsigned_abs() < most.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_kept_or_it_is_none() {
        for (text, scale, wanted) in [
            ("0", 2, Some(0)),
            ("1.2e3", 0, Some(1200)),
            ("12e-1", 1, Some(12)),
            ("1.50", 1, Some(15)),
            ("1.55", 1, None),
            (
                "99999999999999999999999999999999999999",
                0,
                Some(99_999_999_999_999_999_999_999_999_999_999_999_999),
            ),
            ("1e39", 0, None),
            (".", 0, None),
            ("", 0, None),
            ("1e999999", 0, None),
            ("0x1", 0, None),
        ] {
            assert_eq!(parse(text, scale), wanted, "{text}");
        }
        assert_eq!(unscaled(&[0; 20]), Some(0));
        assert_eq!(unscaled(&[0xff; 17]), Some(-1));
        assert_eq!(unscaled(&[1; 17]), None);
        assert_eq!(unscaled(&[]), None);
    }
}
