//! A JSON document as a tree that borrows from its text: members in their order, numbers with their digits.
//!
//! `serde_json::Value` sorts members and makes numbers into 64 bits; columns have to come in the order of the documents, and a
//! decimal must keep its last digit.

use std::borrow::Cow;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// Text without quotes and escapes.
    Text(Cow<'a, str>),
    /// Elements.
    Array(Vec<Json<'a>>),
    /// Members in order; of a name that is repeated the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON document: {what} at byte {at}")]
pub struct NotJson {
    what: &'static str,
    at: usize,
}

impl<'a> Json<'a> {
    /// Reads a whole document.
    pub fn read(text: &'a str) -> Result<Self, NotJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < text.len() { Err(reader.fail("more text after it")) } else { Ok(value) }
    }

    /// Whether nothing in it has a type of its own: null, and lists and objects of nothing else.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Array(values) => values.iter().all(Self::is_nothing),
            Self::Object(members) => members.is_empty(),
            _ => false,
        }
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn fail(&self, what: &'static str) -> NotJson {
        NotJson { what, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<(), NotJson> {
        self.space();
        if self.peek() != Some(byte) {
            return Err(self.fail(what));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, NotJson> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fail("no value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        if depth > DEPTH_MAX {
            return Err(self.fail("nested more than 64 deep"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fail("no value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fail("no name of a member"));
            }
            let name = self.string()?;
            self.take(b':', "no colon")?;
            members.push((name, self.value(depth + 1)?));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                _ => return Err(self.fail("neither a comma nor the object's end")),
            }
        }
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                _ => return Err(self.fail("neither a comma nor the array's end")),
            }
        }
        Ok(Json::Array(elements))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fail("no digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json<'a>, NotJson> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Json::Number(&self.text[start..self.at]))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(self.fail("text without an end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
                }
                Some(b'\\') => return self.escaped(start).map(Cow::Owned),
                Some(byte) if byte < 0x20 => return Err(self.fail("a control character in text")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String, NotJson> {
        let mut out = String::new();
        let mut plain = start;
        loop {
            match self.peek() {
                None => return Err(self.fail("text without an end")),
                Some(b'"') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    plain = self.at;
                }
                Some(byte) if byte < 0x20 => return Err(self.fail("a control character in text")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let byte = self.peek().ok_or_else(|| self.fail("text without an end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.unit()?;
                let code = match high {
                    0xd800..=0xdbff if self.text[self.at..].starts_with("\\u") => {
                        self.at += 2;
                        let low = self.unit()?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(self.fail("half a character"));
                        }
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    unit => unit,
                };
                char::from_u32(code).ok_or_else(|| self.fail("half a character"))?
            }
            _ => return Err(self.fail("no such escape")),
        })
    }

    fn unit(&mut self) -> Result<u32, NotJson> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        self.at += 4;
        unit.ok_or_else(|| NotJson { what: "no such escape", at: self.at - 4 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `serde_json` has it, with its order of members.
    fn plain(json: &Json<'_>) -> serde_json::Value {
        match json {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(text) => serde_json::from_str(text).expect("a number"),
            Json::Text(text) => text.as_ref().into(),
            Json::Array(elements) => elements.iter().map(plain).collect(),
            Json::Object(members) => {
                members.iter().map(|(name, value)| (name.to_string(), plain(value))).collect()
            }
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in r#"[ \[\]{},:"\\ntrue0-9.eE+u\-aé]{0,24}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match Json::read(&text) {
                Ok(ours) => prop_assert_eq!(plain(&ours), theirs.expect("they read it, too")),
                // They refuse numbers beyond a double's range; nothing else is theirs alone.
                Err(_) => prop_assert!(theirs.is_err(), "{}", text),
            }
        }

        #[test]
        fn it_reads_what_serde_json_writes(value in any::<Vec<(String, Option<i64>, bool)>>()) {
            let text = serde_json::to_string(&value).expect("written");
            let theirs: serde_json::Value = serde_json::from_str(&text).expect("read");
            prop_assert_eq!(plain(&Json::read(&text).expect("ours")), theirs);
        }
    }

    #[test]
    fn order_digits_and_escapes_are_kept() {
        let json =
            Json::read(" {\"b\": 1.10, \"a\\u00e9\\ud83d\\ude00\\n\": [true, null, \"x\"]} ").expect("read");
        let Json::Object(members) = &json else { panic!("{json:?}") };
        assert_eq!(members[0], ("b".into(), Json::Number("1.10")));
        assert_eq!(members[1].0, "aé😀\n");
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "\"\\ud800\"",
            "\"\\x\"",
            "nul",
            "1 2",
            "\u{1}",
            "\"\u{1}\"",
        ] {
            assert!(Json::read(bad).is_err(), "{bad}");
        }
        assert!(Json::read(&"[".repeat(1000)).is_err());
    }
}
