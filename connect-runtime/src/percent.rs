//! Percent-encoding of what goes into URLs.

/// All but unreserved characters (RFC 3986) in upper case, as signatures want it, too; slashes are kept in a path.
pub(crate) fn encoded(text: &str, is_path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if is_path => out.push('/'),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_they_are_signed() {
        assert_eq!(encoded("a b/ü+=.json~", true), "a%20b/%C3%BC%2B%3D.json~");
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}
