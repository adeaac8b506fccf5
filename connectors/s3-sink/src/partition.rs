//! Folders of records: Confluent's partitioners default, field and time.
//!
//! Where a record goes depends on the record alone, but for the time partitioner with the wall clock: what was read before a kill goes to
//! the same folder when it is read again. The exactly-once protocol builds on it (see [`crate::lane`]).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use millrace_connector_fields::{Fields, Found, Path};
use millrace_sdk::Rejection;

use crate::settings::{Extractor, PartitionerKind, Settings};

/// Folder of null and of empty text, as Hive has it.
const NOTHING: &str = "__HIVE_DEFAULT_PARTITION__";
/// Longest path of folders: keys have 1,024 bytes.
const PATH_BYTES_MAX: usize = 600;

/// Tells where records go.
#[derive(Debug)]
pub struct Partitioner {
    kind: PartitionerKind,
    /// Names of the fields that make folders.
    names: Vec<String>,
    pattern: Pattern,
    offset: Offset,
    extractor: Extractor,
    /// Finds those fields, and behind them the timestamp's.
    fields: Fields,
    timestamp_field: String,
    wants_timestamp: bool,
    fingerprint: String,
    found: Vec<Found>,
}

/// Where a record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Folders, without a slash at the end.
    pub path: String,
    /// The timestamp that counts, in milliseconds; 0 where none is asked for.
    pub timestamp: i64,
}

impl Partitioner {
    /// As the settings say. The error has the setting's JSON pointer.
    pub fn new(settings: &Settings) -> Result<Self, (String, String)> {
        let mut paths = Vec::new();
        for (at, name) in settings.partition_field_name.iter().enumerate() {
            let path: Path =
                name.parse().map_err(|error| (format!("/partition_field_name/{at}"), format!("{error}")))?;
            paths.push(path);
        }
        let time = |error| ("/timestamp_field".to_owned(), format!("{error}"));
        paths.push(settings.timestamp_field.parse::<Path>().map_err(time)?);
        let pattern = Pattern::new(&settings.path_format).map_err(|why| ("/path_format".to_owned(), why))?;
        let offset = offset(&settings.timezone)
            .ok_or_else(|| ("/timezone".to_owned(), "UTC, or an offset such as +02:00".to_owned()))?;
        let is_time = settings.partitioner == PartitionerKind::Time;
        let fingerprint = format!(
            "{:?} {:?} {} {} {:?} {}",
            settings.partitioner,
            settings.partition_field_name,
            settings.path_format,
            settings.timezone,
            settings.timestamp_extractor,
            settings.timestamp_field
        );
        Ok(Self {
            kind: settings.partitioner,
            names: settings.partition_field_name.clone(),
            pattern,
            offset,
            extractor: settings.timestamp_extractor,
            fields: Fields::new(&paths),
            timestamp_field: settings.timestamp_field.clone(),
            wants_timestamp: is_time || settings.rotate_interval.is_some(),
            fingerprint,
            found: Vec::new(),
        })
    }

    /// Changes when a record might go to another folder than before.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the folder depends on when a record is written: then a lane has one file at a time.
    pub fn is_of_the_moment(&self) -> bool {
        self.kind == PartitionerKind::Time && self.extractor == Extractor::Wallclock
    }

    /// Where a record goes whose value is this JSON document.
    pub fn place(
        &mut self,
        partition: i32,
        value: &str,
        timestamp: i64,
        now: i64,
    ) -> Result<Place, Rejection> {
        let reads = self.kind == PartitionerKind::Field
            || (self.wants_timestamp && self.extractor == Extractor::Field);
        if reads {
            self.fields
                .find(value, &mut self.found)
                .map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
        }
        let timestamp = match (self.wants_timestamp, self.extractor) {
            (false, _) => 0,
            (true, Extractor::Wallclock) => now,
            (true, Extractor::Record) if timestamp >= 0 => timestamp,
            (true, Extractor::Record) => {
                let message = "a record without a timestamp; set timestamp_extractor to wallclock or field";
                return Err(Rejection::new("s3.timestamp", message));
            }
            (true, Extractor::Field) => self.timestamp_of(value)?,
        };
        let path = match self.kind {
            PartitionerKind::Default => format!("partition={partition}"),
            PartitionerKind::Field => self.of_fields(value)?,
            PartitionerKind::Time => {
                let moment = Timestamp::from_millisecond(timestamp);
                let moment = moment.map_err(|_| {
                    Rejection::new("s3.timestamp", format!("{timestamp} is no time that a calendar has"))
                })?;
                self.pattern.write(self.offset.to_datetime(moment))
            }
        };
        if path.len() > PATH_BYTES_MAX {
            let message = format!(
                "its folder would have {} bytes; at most {PATH_BYTES_MAX} fit into a key",
                path.len()
            );
            return Err(Rejection::new("s3.path", message));
        }
        Ok(Place { path, timestamp })
    }

    fn found(&self, at: usize) -> Option<&Found> {
        self.found.iter().find(|found| found.path == at)
    }

    fn of_fields(&self, value: &str) -> Result<String, Rejection> {
        let mut path = String::new();
        for (at, name) in self.names.iter().enumerate() {
            let text = self.found(at).map_or("null", |found| &value[found.value.clone()]);
            let plain = match text.as_bytes().first() {
                Some(b'"') => serde_json::from_str(text).unwrap_or_default(),
                Some(b'{' | b'[') => {
                    let message =
                        format!("{name} is an object or an array; folders are made of single values");
                    return Err(Rejection::new("s3.partition", message));
                }
                _ if text == "null" => String::new(),
                _ => text.to_owned(),
            };
            if at > 0 {
                path.push('/');
            }
            escape(name, &mut path);
            path.push('=');
            if plain.is_empty() { path.push_str(NOTHING) } else { escape(&plain, &mut path) }
        }
        Ok(path)
    }

    fn timestamp_of(&self, value: &str) -> Result<i64, Rejection> {
        let text = self.found(self.names.len()).map_or("null", |found| &value[found.value.clone()]);
        let moment = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
            None => text.parse::<i64>().ok(),
        };
        moment.ok_or_else(|| {
            let name = &self.timestamp_field;
            let message = format!(
                "{name} is neither milliseconds since the epoch nor a time such as 2026-11-27T08:00:00Z"
            );
            Rejection::new("s3.timestamp", message)
        })
    }
}

/// As Hive escapes what a folder's name can't hold.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '['
            | ']'
            | '^'
            | '\0'..='\u{1f}'
            | '\u{7f}' => {
                out.push_str(&format!("%{:02X}", u32::from(c)));
            }
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
            }
            c => out.push(c),
        }
    }
}

fn offset(text: &str) -> Option<Offset> {
    if text == "UTC" {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let number = |text: &str, most: i32| {
        (text.len() == 2).then(|| text.parse::<i32>().ok())?.filter(|number| (0..=most).contains(number))
    };
    Offset::from_seconds(sign * (number(hours, 18)? * 3600 + number(minutes, 59)? * 60)).ok()
}

/// A pattern of folders, in Joda-Time's letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The letter, and how many digits at least.
    Part(char, usize),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    let mut quoted = String::new();
                    loop {
                        match chars.next() {
                            Some('\'') => break,
                            Some(c) => quoted.push(c),
                            None => return Err(format!("{text:?}: a quote that does not end")),
                        }
                    }
                    pieces.push(Piece::Text(quoted));
                }
                'y' | 'Y' | 'M' | 'd' | 'H' | 'm' => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    if count > 2 && !(matches!(c, 'y' | 'Y') && count == 4) {
                        return Err(format!("{text:?}: {} is not supported", String::from(c).repeat(count)));
                    }
                    pieces.push(Piece::Part(if c == 'Y' { 'y' } else { c }, count));
                }
                c if c.is_ascii_alphabetic() => {
                    return Err(format!(
                        "{text:?}: the letter {c} is not supported; put text into 'single quotes'"
                    ));
                }
                c => pieces.push(Piece::Text(c.to_string())),
            }
        }
        let pattern = Self(pieces);
        let path = pattern.write(DateTime::constant(2026, 11, 27, 8, 0, 0, 0));
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains(char::is_control) {
            return Err(format!("{text:?}: folders are separated by single slashes, with none at the ends"));
        }
        Ok(pattern)
    }

    fn write(&self, time: DateTime) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Part(letter, digits) => {
                    let number = match letter {
                        'y' if *digits == 2 => time.year().rem_euclid(100),
                        'y' => time.year(),
                        'M' => time.month().into(),
                        'd' => time.day().into(),
                        'H' => time.hour().into(),
                        _ => time.minute().into(),
                    };
                    let digits = *digits;
                    out.push_str(&format!("{number:0digits$}"));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn partitioner(further: Value) -> Partitioner {
        let mut settings = json!({ "connection": "c", "format": "json" });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        let settings = millrace_sdk::settings::parse(&settings.to_string()).expect("settings");
        Partitioner::new(&settings).expect("a partitioner")
    }

    fn path(further: Value, value: &str, timestamp: i64) -> Result<String, String> {
        let place = partitioner(further).place(3, value, timestamp, 86_400_000);
        place.map(|place| place.path).map_err(|why| why.code)
    }

    #[test]
    fn fields_make_folders() {
        let by = |names: Value| json!({ "partitioner": "field", "partition_field_name": names });
        assert_eq!(path(json!({}), "1", 0), Ok("partition=3".into()));
        let value = r#"{"a":{"b":"x/y=z é"},"n":1.50,"t":true,"o":{},"e":""}"#;
        assert_eq!(path(by(json!(["a.b", "n"])), value, 0), Ok("a.b=x%2Fy%3Dz é/n=1.50".into()));
        assert_eq!(
            path(by(json!(["t", "e", "none"])), value, 0),
            Ok(format!("t=true/e={NOTHING}/none={NOTHING}"))
        );
        assert_eq!(path(by(json!(["o"])), value, 0), Err("s3.partition".into()));
        assert_eq!(
            path(by(json!(["a"])), &format!("{{\"a\":\"{}\"}}", "x".repeat(700)), 0),
            Err("s3.path".into())
        );
    }

    #[test]
    fn times_make_folders() {
        let time = |further: Value| {
            let mut settings = json!({ "partitioner": "time" });
            settings
                .as_object_mut()
                .expect("an object")
                .extend(further.as_object().expect("an object").clone());
            settings
        };
        let moment = 1_795_766_400_000;
        assert_eq!(path(time(json!({})), "1", moment), Ok("year=2026/month=11/day=27/hour=08".into()));
        let east = json!({ "timezone": "+05:30", "path_format": "YYYY-MM-dd/HH'h'mm" });
        assert_eq!(path(time(east), "1", moment), Ok("2026-11-27/13h30".into()));
        assert_eq!(path(time(json!({})), "1", -1), Err("s3.timestamp".into()));
        let wall = json!({ "timestamp_extractor": "wallclock", "path_format": "yyyy/M/d" });
        assert_eq!(path(time(wall), "1", moment), Ok("1970/1/2".into()));
        let field =
            time(json!({ "timestamp_extractor": "field", "timestamp_field": "at.t", "path_format": "yy" }));
        assert_eq!(path(field.clone(), r#"{"at":{"t":"2026-11-27T08:00:00+01:00"}}"#, 0), Ok("26".into()));
        assert_eq!(path(field.clone(), r#"{"at":{"t":86400000}}"#, 0), Ok("70".into()));
        assert_eq!(path(field.clone(), r#"{"at":1}"#, 0), Err("s3.timestamp".into()));
        assert_eq!(path(field, r#"{"at":{"t":9223372036854775807}}"#, 0), Err("s3.timestamp".into()));
    }

    #[test]
    fn patterns_that_are_none_are_told() {
        for bad in ["yyyyy", "ww", "'open", "/yyyy", "yyyy//MM", "'..'/yyyy"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        for bad in ["Europe/Oslo", "+2", "+19:00", "+02:60", ""] {
            assert!(offset(bad).is_none(), "{bad}");
        }
    }
}
