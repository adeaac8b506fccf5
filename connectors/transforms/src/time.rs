//! Patterns of dates as Kafka Connect's users write them (`yyyy-MM-dd'T'HH:mm:ss`, Java's SimpleDateFormat), in UTC.

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// A pattern, for reading and writing.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As the library has it.
    strtime: String,
    /// Whether an offset from UTC stands at the end; `Z` is written, any is read.
    has_offset: bool,
}

/// What stands for a letter that is repeated so often; none: nothing that is supported.
fn directive(letter: char, count: usize) -> Option<&'static str> {
    Some(match (letter, count) {
        ('y', 1 | 3 | 4) => "%Y",
        ('y', 2) => "%y",
        ('M', 1) => "%-m",
        ('M', 2) => "%m",
        ('M', 3) => "%b",
        ('M', _) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('D', _) => "%j",
        ('E', 1..=3) => "%a",
        ('E', _) => "%A",
        ('a', _) => "%p",
        ('H', 1) => "%-H",
        ('H', 2) => "%H",
        ('h', 1) => "%-I",
        ('h', 2) => "%I",
        ('m', 1) => "%-M",
        ('m', 2) => "%M",
        ('s', 1) => "%-S",
        ('s', 2) => "%S",
        ('S', 3) => "%3f",
        _ => return None,
    })
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn new(java: &str) -> Result<Self, String> {
        let (mut strtime, mut has_offset) = (String::new(), false);
        let mut chars = java.chars().enumerate().peekable();
        while let Some((place, letter)) = chars.next() {
            if has_offset {
                return Err(format!("{java:?}: the offset (X, Z) has to stand at the end"));
            }
            match letter {
                '\'' => loop {
                    let (_, c) =
                        chars.next().ok_or_else(|| format!("{java:?}: a quote that does not end"))?;
                    match c {
                        '\'' => break,
                        '%' => strtime.push_str("%%"),
                        c => strtime.push(c),
                    }
                },
                'a'..='z' | 'A'..='Z' => {
                    let mut count = 1;
                    while chars.next_if(|(_, next)| *next == letter).is_some() {
                        count += 1;
                    }
                    match directive(letter, count) {
                        _ if matches!(letter, 'X' | 'Z') && count <= 3 => has_offset = true,
                        Some(directive) => strtime.push_str(directive),
                        None => {
                            let letters = String::from(letter).repeat(count);
                            return Err(format!(
                                "{java:?}: {letters} at character {} is not supported; put text into 'single quotes'",
                                place + 1
                            ));
                        }
                    }
                }
                '%' => strtime.push_str("%%"),
                other => strtime.push(other),
            }
        }
        Ok(Self { strtime, has_offset })
    }

    /// The time as text; none: it has no form in this pattern.
    pub(crate) fn write(&self, time: Timestamp) -> Option<String> {
        let mut text = BrokenDownTime::from(time).to_string(&self.strtime).ok()?;
        if self.has_offset {
            text.push('Z');
        }
        Some(text)
    }

    /// The time that a text says; none: it is not of this pattern.
    pub(crate) fn read(&self, text: &str) -> Option<Timestamp> {
        let (rest, directive) = match self.has_offset {
            false => (text, ""),
            true if text.ends_with('Z') => (text.strip_suffix('Z')?, ""),
            true if text.rfind(':') == Some(text.len().checked_sub(3)?) => (text, "%:z"),
            true => (text, "%z"),
        };
        let parsed = BrokenDownTime::parse(format!("{}{directive}", self.strtime), rest).ok()?;
        if !directive.is_empty() {
            return parsed.to_timestamp().ok();
        }
        TimeZone::UTC.to_timestamp(parsed.to_datetime().ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(java: &str) -> Pattern {
        Pattern::new(java).expect("a good pattern")
    }

    #[test]
    fn patterns_are_those_of_java() {
        let time = Timestamp::from_millisecond(1_795_248_000_250).expect("in range");
        for (java, text) in [
            ("yyyyMMdd", "20261121"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2026-11-21T08:00:00.250Z"),
            ("d MMM yy, h:mm a", "21 Nov 26, 8:00 AM"),
            ("EEEE 'the' d", "Saturday the 21"),
            ("yyyy/DDD", "2026/325"),
            ("yyyy-MM-dd HH", "2026-11-21 08"),
            ("100%", "100%"),
        ] {
            assert_eq!(pattern(java).write(time).as_deref(), Some(text), "{java}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let time = Timestamp::from_millisecond(1_795_248_000_250).expect("in range");
        for java in ["yyyy-MM-dd HH:mm:ss.SSS", "yyyyMMddHHmmssSSS", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"] {
            let written = pattern(java).write(time).expect("written");
            assert_eq!(pattern(java).read(&written), Some(time), "{written}");
        }
        let midnight = "2026-11-21T00:00:00Z".parse().ok();
        assert_eq!(pattern("yyyy-MM-dd").read("2026-11-21"), midnight);
        let offset = pattern("yyyy-MM-dd'T'HH:mmXXX");
        assert_eq!(offset.read("2026-11-21T01:30+01:30"), midnight);
        assert_eq!(offset.read("2026-11-20T19:00-0500"), midnight);
        for bad in ["", "2026-11-21", "2026-11-21T01:30", "2026-13-21T01:30Z", "2026-11-21T01:30ZZ"] {
            assert_eq!(offset.read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = Pattern::new("yyyy-ww").expect_err("weeks");
        assert_eq!(error, "\"yyyy-ww\": ww at character 6 is not supported; put text into 'single quotes'");
        assert!(Pattern::new("X yyyy").expect_err("not at the end").contains("at the end"));
        assert!(Pattern::new("'yyyy").expect_err("open").contains("does not end"));
    }
}
