//! A JSON value as text that a column reads.
//!
//! What a schema says comes first (a decimal as bytes, days since the epoch); what a column is decides the rest. Numbers keep their
//! digits: they are never made into floating point here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_connector_fields::{Member, members};
use millrace_sdk::Rejection;
use serde_json::value::RawValue;

use crate::calendar;
use crate::schema::Type;
use crate::settings::Unit;

/// Deepest nesting of arrays: PostgreSQL's own.
const DIMENSIONS_MAX: u32 = 6;
/// Longest decimal, in bytes: what fills PostgreSQL's numeric, and more.
const DECIMAL_BYTES_MAX: usize = 60_000;

/// What a column takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// int2, int4, int8.
    Integer,
    /// json, jsonb.
    Json,
    /// bytea.
    Bytes,
    /// date.
    Date,
    /// time, timetz.
    Time,
    /// timestamp, timestamptz.
    Timestamp,
    /// An array.
    Array {
        /// What it holds.
        element: Box<Kind>,
        /// What its text has between two of them: a comma, but for `box`.
        delimiter: char,
    },
    /// Whatever the text says.
    Other,
}

/// What values mean where no schema says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Of whole numbers in columns of time.
    pub unit: Unit,
    /// Whether text for a column of JSON is a document, as in Debezium's envelopes; else it is one if it looks like an object or an array.
    pub documents: bool,
}

/// The text of `json` for a column; none: null.
pub fn text(json: &str, of: Option<&Type>, kind: &Kind, form: Form) -> Result<Option<String>, Rejection> {
    if json == "null" {
        return Ok(None);
    }
    if let Some(text) = of.map(|of| logical(json, of)).transpose()?.flatten() {
        return Ok(Some(text));
    }
    let wrong = |what: &str| Rejection::new("value.type", format!("{what}: {}", clip(json)));
    Ok(Some(match (json.as_bytes()[0], kind) {
        (b'"', Kind::Bytes) => bytes(&string(json)?)?,
        (b'"', Kind::Json) => {
            let inner = string(json)?;
            // A document within a string, as Debezium writes it.
            let is_document = (form.documents || inner.trim_start().starts_with(['{', '[']))
                && serde_json::from_str::<&RawValue>(&inner).is_ok();
            if is_document { inner } else { json.to_owned() }
        }
        (b'"', _) => string(json)?,
        (_, Kind::Json) => json.to_owned(),
        (b'[', Kind::Array { element, delimiter }) => {
            let mut out = String::new();
            let items = of.and_then(|of| of.items.as_deref());
            array(json, items, (element, *delimiter), form, 1, &mut out)?;
            out
        }
        (b'-' | b'0'..=b'9', Kind::Date) => {
            let days = json.parse().ok().and_then(calendar::date);
            days.ok_or_else(|| wrong("no number of days since 1970"))?
        }
        (b'-' | b'0'..=b'9', Kind::Timestamp) => {
            let time =
                json.parse().ok().and_then(|number| calendar::timestamp(number, per_second(form.unit)));
            time.ok_or_else(|| wrong("no time since 1970"))?
        }
        (b'-' | b'0'..=b'9', Kind::Time) => {
            let time = json.parse().ok().and_then(|number| calendar::time(number, per_second(form.unit)));
            time.ok_or_else(|| wrong("no time of a day"))?
        }
        // 3.0 is a whole number to those who have one kind of numbers only.
        (b'-' | b'0'..=b'9', Kind::Integer) => match json.split_once('.') {
            Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole.to_owned(),
            _ => json.to_owned(),
        },
        _ => json.to_owned(),
    }))
}

/// What the schema's logical type makes of it; none: nothing special.
fn logical(json: &str, of: &Type) -> Result<Option<String>, Rejection> {
    let wrong = || Rejection::new("value.logical", format!("no value of type {}: {}", of.name, clip(json)));
    let number = || json.parse::<i64>().map_err(|_| wrong());
    let found = match of.name.as_str() {
        "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date" => calendar::date(number()?),
        "org.apache.kafka.connect.data.Time" | "io.debezium.time.Time" => calendar::time(number()?, 1_000),
        "io.debezium.time.MicroTime" => calendar::time(number()?, 1_000_000),
        "io.debezium.time.NanoTime" => calendar::time(number()?, 1_000_000_000),
        "org.apache.kafka.connect.data.Timestamp" | "io.debezium.time.Timestamp" => {
            calendar::timestamp(number()?, 1_000)
        }
        "io.debezium.time.MicroTimestamp" => calendar::timestamp(number()?, 1_000_000),
        "io.debezium.time.NanoTimestamp" => calendar::timestamp(number()?, 1_000_000_000),
        "io.debezium.time.MicroDuration" => Some(format!("{} microseconds", number()?)),
        // Of `time.precision.mode=isostring`: a date or a time with a Z that says nothing.
        "io.debezium.time.IsoDate" | "io.debezium.time.IsoTime" | "io.debezium.time.IsoTimestamp"
            if json.starts_with('"') =>
        {
            Some(without_zone(&string(json)?))
        }
        "io.debezium.data.Json" if json.starts_with('"') => Some(string(json)?),
        // `decimal.format` of the converter may have written digits.
        "org.apache.kafka.connect.data.Decimal" if json.starts_with('"') => {
            decimal(&string(json)?, of.scale.unwrap_or(0))
        }
        "io.debezium.data.VariableScaleDecimal" => {
            let mut found = Vec::new();
            members(json, &mut found).map_err(|_| wrong())?;
            let part = |name: &str| {
                let is_it = |member: &&Member| member.plain_name(json) == name;
                found.iter().find(is_it).map(|member| &json[member.value.clone()])
            };
            let scale = part("scale").and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            decimal(&string(part("value").ok_or_else(wrong)?)?, scale)
        }
        _ if of.kind == "bytes" && json.starts_with('"') => {
            let raw = STANDARD.decode(string(json)?).map_err(|_| wrong())?;
            Some(hex(&raw))
        }
        _ => return Ok(None),
    };
    found.map(Some).ok_or_else(wrong)
}

/// A string without quotes and escapes.
fn string(json: &str) -> Result<String, Rejection> {
    serde_json::from_str(json).map_err(|error| Rejection::new("value.type", error.to_string()))
}

/// Without a Z at its end, or before its era.
fn without_zone(text: &str) -> String {
    match text.strip_suffix(" BC") {
        Some(text) => format!("{} BC", text.strip_suffix('Z').unwrap_or(text)),
        None => text.strip_suffix('Z').unwrap_or(text).to_owned(),
    }
}

/// bytea: its own form as it is, anything else is base64.
fn bytes(text: &str) -> Result<String, Rejection> {
    if text.starts_with("\\x") {
        return Ok(text.to_owned());
    }
    let raw = STANDARD.decode(text).map_err(|_| {
        Rejection::new(
            "value.bytes",
            format!("neither base64 nor \\x and hexadecimal digits: {}", clip(text)),
        )
    })?;
    Ok(hex(&raw))
}

fn hex(raw: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    let digits = raw.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    "\\x".chars().chain(digits).collect()
}

/// An array's own text: `{"a",NULL}`.
fn array(
    json: &str,
    of: Option<&Type>,
    (kind, delimiter): (&Kind, char),
    form: Form,
    depth: u32,
    out: &mut String,
) -> Result<(), Rejection> {
    if depth > DIMENSIONS_MAX {
        let message = format!("an array of more than {DIMENSIONS_MAX} dimensions");
        return Err(Rejection::new("value.type", message));
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| Rejection::new("value.type", error.to_string()))?;
    out.push('{');
    for (at, element) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        let element = element.get();
        if element.starts_with('[') && *kind != Kind::Json {
            array(element, of.and_then(|of| of.items.as_deref()), (kind, delimiter), form, depth + 1, out)?;
        } else {
            element_text(text(element, of, kind, form)?.as_deref(), out);
        }
    }
    out.push('}');
    Ok(())
}

/// An element of an array, quoted; none: NULL.
pub fn element_text(text: Option<&str>, out: &mut String) {
    let Some(text) = text else {
        out.push_str("NULL");
        return;
    };
    out.push('"');
    for (at, part) in text.split(['"', '\\']).enumerate() {
        if at > 0 {
            // What was split at is the byte before this part.
            let before = part.as_ptr() as usize - text.as_ptr() as usize - 1;
            out.push('\\');
            out.push(char::from(text.as_bytes()[before]));
        }
        out.push_str(part);
    }
    out.push('"');
}

/// Bytes of a two's complement number, most significant first, as digits with the point moved.
fn decimal(base64: &str, scale: i64) -> Option<String> {
    let raw = STANDARD.decode(base64).ok().filter(|raw| !raw.is_empty() && raw.len() <= DECIMAL_BYTES_MAX)?;
    let negative = raw[0] & 0x80 != 0;
    let mut magnitude = raw;
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (flipped, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (flipped, over);
        }
    }
    // Nine digits at a time, least significant first.
    let mut groups: Vec<u32> = Vec::new();
    for byte in magnitude {
        let mut carry = u64::from(byte);
        for group in &mut groups {
            let value = u64::from(*group) * 256 + carry;
            *group = u32::try_from(value % 1_000_000_000).ok()?;
            carry = value / 1_000_000_000;
        }
        if carry > 0 {
            groups.push(u32::try_from(carry).ok()?);
        }
    }
    let mut digits: String = groups.iter().rev().map(|group| format!("{group:09}")).collect();
    digits = digits.trim_start_matches('0').to_owned();
    let sign = if negative && !digits.is_empty() { "-" } else { "" };
    let scale = i32::try_from(scale).ok().filter(|scale| scale.abs() <= 20_000)?;
    Some(match usize::try_from(scale) {
        Ok(0) | Err(_) if digits.is_empty() => "0".to_owned(),
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, part) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{part}")
        }
        Err(_) => format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs() as usize)),
    })
}

fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::S => 1,
        Unit::Ms => 1_000,
        Unit::Us => 1_000_000,
        Unit::Ns => 1_000_000_000,
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(json: &str, kind: &Kind) -> String {
        match text(json, None, kind, Form::default()) {
            Ok(Some(text)) => text,
            Ok(None) => "NULL".to_owned(),
            Err(why) => why.code,
        }
    }

    #[test]
    fn columns_decide_what_a_value_means() {
        let of_kind = |kind, delimiter| Kind::Array { element: Box::new(kind), delimiter };
        let array = |kind| of_kind(kind, ',');
        for (json, kind, text) in [
            ("null", Kind::Json, "NULL"),
            (r#""a\u00e4\n""#, Kind::Other, "aä\n"),
            ("12345678901234567890.10", Kind::Other, "12345678901234567890.10"),
            ("3.000", Kind::Integer, "3"),
            ("3.5", Kind::Integer, "3.5"),
            ("true", Kind::Other, "true"),
            (r#"{"a": 1.0}"#, Kind::Other, r#"{"a": 1.0}"#),
            (r#"{"a": 1.0}"#, Kind::Json, r#"{"a": 1.0}"#),
            (r#""a""#, Kind::Json, r#""a""#),
            (r#""{\"a\":1}""#, Kind::Json, r#"{"a":1}"#),
            (r#""AP8=""#, Kind::Bytes, "\\x00ff"),
            (r#""\\x00ff""#, Kind::Bytes, "\\x00ff"),
            (r#""?""#, Kind::Bytes, "value.bytes"),
            ("19", Kind::Date, "1970-01-20"),
            ("1500", Kind::Timestamp, "1970-01-01 00:00:01.500000"),
            (r#""2020-01-01T00:00:00Z""#, Kind::Timestamp, "2020-01-01T00:00:00Z"),
            ("1e99", Kind::Timestamp, "value.type"),
            (r#"[1, null, "a\"b\\c", ""]"#, array(Kind::Other), r#"{"1",NULL,"a\"b\\c",""}"#),
            ("[[1,2],[3,4]]", array(Kind::Other), r#"{{"1","2"},{"3","4"}}"#),
            (r#"["(1,1),(0,0)",null]"#, of_kind(Kind::Other, ';'), r#"{"(1,1),(0,0)";NULL}"#),
            (r#"[{"a":[1]}, [2]]"#, array(Kind::Json), r#"{"{\"a\":[1]}","[2]"}"#),
            ("[[[[[[[1]]]]]]]", array(Kind::Other), "value.type"),
            (r#""{1,2}""#, array(Kind::Other), "{1,2}"),
            ("[1]", Kind::Json, "[1]"),
        ] {
            assert_eq!(of(json, &kind), text, "{json} {kind:?}");
        }
    }

    #[test]
    fn text_in_an_envelope_is_a_document_for_a_column_of_json() {
        let form = Form { documents: true, ..Form::default() };
        for (json, wanted) in [
            (r#""null""#, "null"),
            (r#""5""#, "5"),
            (r#""\"a\"""#, r#""a""#),
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#""a""#, r#""a""#),
        ] {
            assert_eq!(text(json, None, &Kind::Json, form).expect("text").as_deref(), Some(wanted), "{json}");
        }
    }

    #[test]
    fn schemas_decide_before_columns() {
        let of = |json: &str, schema: serde_json::Value| match text(
            json,
            Some(&Type::read(&schema)),
            &Kind::Other,
            Form::default(),
        ) {
            Ok(text) => text.unwrap_or_default(),
            Err(why) => why.code,
        };
        let named = |kind: &str, name: &str| json!({ "type": kind, "name": name });
        let decimal = |scale: &str| json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": { "scale": scale } });
        for (json, schema, text) in [
            (r#""AeJA""#, decimal("2"), "1234.56"),
            (r#""/w==""#, decimal("0"), "-1"),
            (r#""/w==""#, decimal("3"), "-0.001"),
            (r#""AA==""#, decimal("2"), "0.00"),
            (r#""AQ==""#, decimal("-3"), "1000"),
            (r#""4pzWDjyjW0BURgqe//////k=""#, decimal("0"), "-10000000000000000000000000000000000000007"),
            (
                r#"{"scale": 1, "value": "Zg=="}"#,
                named("struct", "io.debezium.data.VariableScaleDecimal"),
                "10.2",
            ),
            ("19", named("int32", "io.debezium.time.Date"), "1970-01-20"),
            ("1500000", named("int64", "io.debezium.time.MicroTimestamp"), "1970-01-01 00:00:01.500000"),
            ("1500", named("int32", "org.apache.kafka.connect.data.Time"), "00:00:01.500000"),
            (r#""AP8=""#, json!({ "type": "bytes" }), "\\x00ff"),
            (r#""{\"a\":1}""#, named("string", "io.debezium.data.Json"), r#"{"a":1}"#),
            (r#""null""#, named("string", "io.debezium.data.Json"), "null"),
            (r#""2026-02-28Z""#, named("string", "io.debezium.time.IsoDate"), "2026-02-28"),
            (
                r#""0044-03-15T24:00:00Z BC""#,
                named("string", "io.debezium.time.IsoTimestamp"),
                "0044-03-15T24:00:00 BC",
            ),
            (r#""infinity""#, named("string", "io.debezium.time.IsoTimestamp"), "infinity"),
            (r#""x""#, named("int32", "io.debezium.time.Date"), "value.logical"),
            ("5", json!({ "type": "int32" }), "5"),
        ] {
            assert_eq!(of(json, schema), text, "{json}");
        }
    }
}
