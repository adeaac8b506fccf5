//! The tables of fields and their little language, which `requests.schema` explains.
//!
//! The tables are part of the program: [`Messages::parse`] panics on a mistake in them, and a test parses them all.

use std::ops::RangeInclusive;

/// All messages of one table, by key.
#[derive(Debug)]
pub(super) struct Messages {
    by_key: Vec<Option<Message>>,
}

/// One request or response.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) key: i16,
    pub(super) name: &'static str,
    pub(super) versions: RangeInclusive<i16>,
    /// First version with compact lengths and tagged fields (KIP-482).
    flexible_from: Option<i16>,
    pub(super) fields: Vec<Field>,
}

/// One field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) versions: RangeInclusive<i16>,
    /// The tag of a tagged field; such fields stand after the others.
    pub(super) tag: Option<u32>,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// How a field looks on the wire.
#[derive(Debug)]
pub(super) enum Kind {
    /// A number, a flag or a UUID of this many bytes.
    Fixed(usize),
    Str,
    Bytes,
    Array(Box<Kind>),
    Struct(Vec<Field>),
}

impl Message {
    /// Whether the version has compact lengths and tagged fields.
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }
}

impl Messages {
    /// Reads a table. Panics on a mistake in it.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut by_key = Vec::new();
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).peekable();
        while let Some(head) = lines.next() {
            let mut message = parse_head(head);
            let mut body = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                body.push(line);
            }
            message.fields = parse_fields(&body);
            let index = usize::try_from(message.key).expect("keys in the table are not negative");
            if by_key.len() <= index {
                by_key.resize_with(index + 1, || None);
            }
            assert!(by_key[index].is_none(), "{} stands in the table twice", message.name);
            by_key[index] = Some(message);
        }
        Self { by_key }
    }

    /// The message with this key.
    pub(super) fn get(&self, key: i16) -> Option<&Message> {
        self.by_key.get(usize::try_from(key).ok()?)?.as_ref()
    }

    /// All messages.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.by_key.iter().flatten()
    }
}

/// `18 ApiVersions 0-4 flexible 3`
fn parse_head(line: &'static str) -> Message {
    let words: Vec<_> = line.split(' ').collect();
    let (key, name, versions, flexible_from) = match words[..] {
        [key, name, versions] => (key, name, versions, None),
        [key, name, versions, "flexible", from] => (key, name, versions, Some(number(from))),
        _ => panic!("not the head of a message: {line}"),
    };
    Message { key: number(key), name, versions: parse_versions(versions), flexible_from, fields: Vec::new() }
}

fn parse_fields(lines: &[&'static str]) -> Vec<Field> {
    let mut parser = Parser { tokens: lines.iter().flat_map(|line| tokens(line)).collect(), at: 0 };
    let fields = parser.fields();
    assert!(parser.peek().is_none(), "unbalanced brackets before {:?}", parser.peek());
    fields
}

/// Words and brackets; spaces only separate.
fn tokens(line: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    for mut word in line.split_whitespace() {
        while !word.is_empty() {
            let len = match word.find(['[', ']', '{', '}']) {
                Some(0) => 1,
                Some(at) => at,
                None => word.len(),
            };
            let (token, rest) = word.split_at(len);
            tokens.push(token);
            word = rest;
        }
    }
    tokens
}

struct Parser {
    tokens: Vec<&'static str>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&'static str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> &'static str {
        let token = self.peek().expect("a field, a type or a bracket follows");
        self.at += 1;
        token
    }

    /// Fields up to a closing bracket or the end.
    fn fields(&mut self) -> Vec<Field> {
        let mut fields = Vec::new();
        while self.peek().is_some_and(|token| !is_closing(token)) {
            fields.push(self.field());
        }
        fields
    }

    /// `name:type@versions`, where the type may be in brackets (`topics:[name:str]?@4+`).
    fn field(&mut self) -> Field {
        let head = self.next();
        let (name, inline) = head.split_once(':').unwrap_or_else(|| panic!("{head} has no type"));
        let (tag, name) = match name.strip_prefix('#').and_then(|tagged| tagged.split_once('/')) {
            Some((tag, name)) => (Some(number(tag)), name),
            None => (None, name),
        };
        let (kind, suffix) = if inline.is_empty() {
            let kind = self.bracketed();
            match self.peek() {
                Some(token) if token.starts_with(['?', '@']) => (kind, self.next()),
                _ => (kind, ""),
            }
        } else {
            let end = inline.find(['?', '@']).unwrap_or(inline.len());
            (simple(&inline[..end]), &inline[end..])
        };
        let (nullable, versions) = match suffix.strip_prefix('?') {
            Some(versions) => (true, versions),
            None => (false, suffix),
        };
        let versions = versions.strip_prefix('@').map_or(i16::MIN..=i16::MAX, parse_versions);
        Field { name, versions, tag, kind, nullable }
    }

    /// `[i32]`, `[fields]` or `{fields}`
    fn bracketed(&mut self) -> Kind {
        let opening = self.next();
        let is_primitive = self.peek().is_some_and(|token| !token.contains(':'));
        let kind = match opening {
            "[" if is_primitive => Kind::Array(Box::new(simple(self.next()))),
            "[" => Kind::Array(Box::new(Kind::Struct(self.fields()))),
            "{" => Kind::Struct(self.fields()),
            other => panic!("{other} where a type should begin"),
        };
        let closing = self.next();
        assert!(is_closing(closing), "{closing} where a bracket should close");
        kind
    }
}

fn is_closing(token: &str) -> bool {
    matches!(token, "]" | "}")
}

fn simple(name: &str) -> Kind {
    match name {
        "bool" | "i8" => Kind::Fixed(1),
        "i16" | "u16" => Kind::Fixed(2),
        "i32" => Kind::Fixed(4),
        "i64" | "f64" => Kind::Fixed(8),
        "uuid" => Kind::Fixed(16),
        "str" => Kind::Str,
        "bytes" => Kind::Bytes,
        other => panic!("unknown type {other}"),
    }
}

/// `3`, `0-3` or `4+`
fn parse_versions(text: &str) -> RangeInclusive<i16> {
    if let Some(from) = text.strip_suffix('+') {
        return number(from)..=i16::MAX;
    }
    match text.split_once('-') {
        Some((from, to)) => number(from)..=number(to),
        None => number(text)..=number(text),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("{text} should be a number"))
}
