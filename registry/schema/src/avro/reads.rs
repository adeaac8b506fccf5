//! Which schema reads which: the resolution rules of Avro's specification, as Java's `SchemaCompatibility` applies them.
//!
//! Two decimals must agree in precision and scale, as the specification has it (Java doesn't look).

use std::collections::HashSet;

use super::{Avro, Enum, Fixed, Logical, Names, Record, Type, TypeId};

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 256;
/// Pairs of types that are compared before the answer is no: unions of unions are compared each with each.
const STEPS_MAX: usize = 1_000_000;
/// Most reasons that are collected.
const REASONS_MAX: usize = 20;

/// Why `reader` can't read all that `writer` writes; empty: it can.
#[must_use]
pub fn unreadable(reader: &Avro, writer: &Avro) -> Vec<String> {
    let mut check = Check { reader, writer, seen: HashSet::new(), found: Vec::new(), steps: 0 };
    check.types(reader.root(), writer.root(), "", 0);
    check.found
}

struct Check<'a> {
    reader: &'a Avro,
    writer: &'a Avro,
    /// Pairs of records that hold, or are being looked at further up.
    seen: HashSet<(TypeId, TypeId)>,
    found: Vec<String>,
    steps: usize,
}

impl Check<'_> {
    fn refuse(&mut self, path: &str, why: impl std::fmt::Display) {
        if self.found.len() < REASONS_MAX {
            let path = if path.is_empty() { "/" } else { path };
            self.found.push(format!("at {path}: {why}"));
        }
    }

    /// Looks without keeping the reasons.
    fn fits(&mut self, reader: TypeId, writer: TypeId, depth: usize) -> bool {
        // Copying what was seen is work, too.
        self.steps += self.seen.len() / 8;
        let (before, seen) = (std::mem::take(&mut self.found), self.seen.clone());
        self.types(reader, writer, "", depth);
        let fits = self.found.is_empty();
        self.found = before;
        if !fits {
            self.seen = seen;
        }
        fits
    }

    fn types(&mut self, reader: TypeId, writer: TypeId, path: &str, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return self.refuse(path, "the schemas are too deep to be compared");
        }
        let (r, w) = (self.reader.get(reader), self.writer.get(writer));
        match (r, w) {
            (_, Type::Union(variants)) => {
                for variant in variants {
                    match r {
                        Type::Union(_) => self.one_of(reader, *variant, path, depth),
                        _ => self.types(reader, *variant, path, depth + 1),
                    }
                }
            }
            (Type::Union(_), _) => self.one_of(reader, writer, path, depth),
            (Type::Array(r), Type::Array(w)) => self.types(*r, *w, &format!("{path}/items"), depth + 1),
            (Type::Map(r), Type::Map(w)) => self.types(*r, *w, &format!("{path}/values"), depth + 1),
            (Type::Fixed(r), Type::Fixed(w)) => self.fixed(r, w, path),
            (Type::Enum(r), Type::Enum(w)) => self.enums(r, w, path),
            (Type::Record(r), Type::Record(w)) => {
                if self.seen.insert((reader, writer)) {
                    self.records(r, w, path, depth);
                }
            }
            (r, w) => {
                if !is_promoted(r, w) {
                    self.refuse(path, format_args!("{} was expected, {} is written", name(r), name(w)));
                }
            }
        }
    }

    /// Whether one of the reader's variants reads what is written.
    fn one_of(&mut self, reader: TypeId, writer: TypeId, path: &str, depth: usize) {
        let Type::Union(variants) = self.reader.get(reader) else { return };
        if !variants.iter().any(|variant| self.fits(*variant, writer, depth + 1)) {
            let written = name(self.writer.get(writer));
            self.refuse(path, format_args!("the reader's union lacks {written}"));
        }
    }

    fn fixed(&mut self, reader: &Fixed, writer: &Fixed, path: &str) {
        self.names(&reader.names, &writer.names, path);
        if reader.size != writer.size {
            self.refuse(path, format_args!("fixed of {} bytes, {} are written", reader.size, writer.size));
        }
        if differ(reader.logical, writer.logical) {
            self.refuse(path, "decimals of different precision or scale");
        }
    }

    fn enums(&mut self, reader: &Enum, writer: &Enum, path: &str) {
        self.names(&reader.names, &writer.names, path);
        if reader.default.is_some() {
            return;
        }
        let unknown: Vec<&str> = writer
            .symbols
            .iter()
            .filter(|symbol| !reader.symbols.contains(symbol))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            self.refuse(path, format_args!("the reader's enum lacks {unknown} and has no default"));
        }
    }

    fn records(&mut self, reader: &Record, writer: &Record, path: &str, depth: usize) {
        self.names(&reader.names, &writer.names, path);
        for field in &reader.fields {
            let path = format!("{path}/{}", field.name);
            let mut names = [&field.name].into_iter().chain(&field.aliases);
            match names.find_map(|name| writer.fields.iter().find(|written| written.name == *name)) {
                Some(written) => self.types(field.is, written.is, &path, depth + 1),
                None if field.default.is_some() => {}
                None => self.refuse(&path, "the reader's field has no default and is not written"),
            }
        }
    }

    /// Named types match by name without namespace, or by one of the reader's aliases.
    fn names(&mut self, reader: &Names, writer: &Names, path: &str) {
        if reader.short() != writer.short() && !reader.aliases.contains(&writer.full) {
            self.refuse(path, format_args!("{} was expected, {} is written", reader.full, writer.full));
        }
    }
}

fn is_promoted(reader: &Type, writer: &Type) -> bool {
    match (reader, writer) {
        (Type::Null, Type::Null) | (Type::Boolean, Type::Boolean) => true,
        (Type::Int(_) | Type::Long(_) | Type::Float | Type::Double, Type::Int(_))
        | (Type::Long(_) | Type::Float | Type::Double, Type::Long(_))
        | (Type::Float | Type::Double, Type::Float)
        | (Type::Double, Type::Double) => true,
        (Type::Bytes(r) | Type::String(r), Type::Bytes(w) | Type::String(w)) => !differ(*r, *w),
        _ => false,
    }
}

/// Two decimals of different shape.
fn differ(reader: Logical, writer: Logical) -> bool {
    let is_decimal = |logical| matches!(logical, Logical::Decimal { .. });
    is_decimal(reader) && is_decimal(writer) && reader != writer
}

fn name(of: &Type) -> &str {
    match of {
        Type::Null => "null",
        Type::Boolean => "boolean",
        Type::Int(_) => "int",
        Type::Long(_) => "long",
        Type::Float => "float",
        Type::Double => "double",
        Type::Bytes(_) => "bytes",
        Type::String(_) => "string",
        Type::Array(_) => "an array",
        Type::Map(_) => "a map",
        Type::Union(_) => "a union",
        Type::Fixed(of) => &of.names.full,
        Type::Enum(of) => &of.names.full,
        Type::Record(of) => &of.names.full,
    }
}
