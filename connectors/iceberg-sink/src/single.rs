//! Single values as bytes (specification, appendix D): bounds of columns and of partitions.

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Type;

/// A value of a type without parts; none for null, and for what has no such form.
pub fn bytes(value: &Datum, ty: &Type) -> Option<Vec<u8>> {
    Some(match (value, ty) {
        // Files hold the digits of decimals as integers.
        (Datum::Int(value), Type::Decimal { .. }) => digits((*value).into()),
        (Datum::Long(value), Type::Decimal { .. }) => digits((*value).into()),
        (Datum::Decimal(value), Type::Decimal { .. }) => digits(*value),
        (Datum::Boolean(value), Type::Boolean) => vec![u8::from(*value)],
        (Datum::Int(value), Type::Int | Type::Date) => value.to_le_bytes().to_vec(),
        (Datum::Long(value), Type::Long | Type::Time(_) | Type::Timestamp { .. }) => {
            value.to_le_bytes().to_vec()
        }
        (Datum::Float(value), Type::Float) => value.to_le_bytes().to_vec(),
        (Datum::Double(value), Type::Double) => value.to_le_bytes().to_vec(),
        (Datum::Text(text), Type::Text) => text.as_bytes().to_vec(),
        (Datum::Bytes(bytes), Type::Text | Type::Bytes) => bytes.clone(),
        _ => return None,
    })
}

/// Two's complement, the most significant byte first, in the fewest bytes that keep the sign.
pub fn digits(value: i128) -> Vec<u8> {
    let whole = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let spare = |at: &usize| whole[*at] == fill && (whole[at + 1] >= 0x80) == (fill == 0xff);
    let start = (0..whole.len() - 1).take_while(spare).count();
    whole[start..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_keep_their_sign_in_the_fewest_bytes() {
        for (value, wanted) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0, 128]),
            (-128, vec![128]),
            (-129, vec![255, 127]),
            (1420, vec![5, 140]),
        ] {
            assert_eq!(digits(value), wanted, "{value}");
        }
    }

    #[test]
    fn decimals_of_any_size_are_digits() {
        let money = Type::Decimal { precision: 9, scale: 2 };
        assert_eq!(bytes(&Datum::Int(-1), &money), Some(vec![255]));
        assert_eq!(bytes(&Datum::Null, &money), None);
        assert_eq!(bytes(&Datum::Long(1), &Type::Text), None);
    }
}
