//! The W3C trace context: `traceparent`, version 00 (<https://www.w3.org/TR/trace-context/>).

/// The header of a record that holds it.
pub(crate) const HEADER: &[u8] = b"traceparent";
/// Length of its text in version 00.
pub(crate) const TEXT_LEN: usize = 55;
const SAMPLED: u8 = 1;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(super) flags: u8,
}

impl Context {
    /// The first place of a new trace.
    pub(crate) fn new(random: [u64; 2], span_id: [u8; 8]) -> Self {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&random[0].max(1).to_be_bytes());
        trace_id[8..].copy_from_slice(&random[1].to_be_bytes());
        Self { trace_id, span_id, flags: SAMPLED }
    }

    /// Whether whoever began the trace wants to see it.
    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// None: it is no context. A later version may have more behind a dash.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let is_version_00 = text.starts_with(b"00");
        let has_end = text.len() == TEXT_LEN || (!is_version_00 && text.get(TEXT_LEN) == Some(&b'-'));
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        if !has_end || !dashes || text.starts_with(b"ff") {
            return None;
        }
        let [_] = hex(&text[..2])?;
        let (trace_id, span_id) = (hex(&text[3..35])?, hex(&text[36..52])?);
        let [flags] = hex(&text[53..55])?;
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, flags })
    }

    /// As it stands in a header.
    pub(crate) fn text(self) -> [u8; TEXT_LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write(&mut text[3..35], &self.trace_id);
        write(&mut text[36..52], &self.span_id);
        write(&mut text[53..55], &[self.flags]);
        text
    }
}

/// Lower case only, as the standard has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn write(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        let context = Context::parse(GOOD).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.text(), GOOD);
        let new = Context::new([0, 0], [0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(Context::parse(&new.text()), Some(new));
    }

    #[test]
    fn what_is_no_context_is_none() {
        let good = std::str::from_utf8(GOOD).unwrap();
        for text in [
            String::new(),
            good[..54].to_owned(),
            format!("{good}-00"),
            good.to_uppercase(),
            good.replace('-', "_"),
            good.replacen("00", "ff", 1),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.replace('a', "g"),
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
        let later = format!("{}-more", good.replacen("00", "cc", 1));
        assert!(Context::parse(later.as_bytes()).is_some());
    }
}
