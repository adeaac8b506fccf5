//! Which Protobuf schema reads what another wrote, after Confluent's rules.
//!
//! Fields are known by their numbers. They may come and go, and change their names; a type may change within its group on the
//! wire (`int32`, `int64`, `uint32`, `uint64`, `bool` and enums; `sint32` and `sint64`; `string` and `bytes`; the two fixed ones
//! each). What may not change: the package, a message that is gone, a field that moves into or out of a `oneof` with others, a field
//! that was in one and is gone, required fields, and a single number that becomes repeated.

use std::collections::HashSet;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::Protobuf;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 64;
/// Most reasons that are collected.
const REASONS_MAX: usize = 20;

/// Why `reader` can't read all that `writer` writes; empty: it can.
#[must_use]
pub fn unreadable(reader: &Protobuf, writer: &Protobuf) -> Vec<String> {
    let mut check = Check { seen: HashSet::new(), found: Vec::new() };
    let (r, w) = (reader.file(), writer.file());
    if r.package_name() != w.package_name() {
        check
            .refuse("the file", format_args!("package {:?} became {:?}", w.package_name(), r.package_name()));
        return check.found;
    }
    for written in w.messages() {
        match r.messages().find(|message| message.name() == written.name()) {
            Some(message) => check.messages(&message, &written, 0),
            None => check.refuse(written.full_name(), "the message is gone"),
        }
    }
    check.found
}

struct Check {
    seen: HashSet<(String, String)>,
    found: Vec<String>,
}

impl Check {
    fn refuse(&mut self, path: &str, why: impl std::fmt::Display) {
        if self.found.len() < REASONS_MAX {
            self.found.push(format!("{path}: {why}"));
        }
    }

    fn messages(&mut self, reader: &MessageDescriptor, writer: &MessageDescriptor, depth: usize) {
        if depth > DEPTH_MAX {
            return self.refuse(writer.full_name(), "the schemas are too deep to be compared");
        }
        if !self.seen.insert((reader.full_name().to_owned(), writer.full_name().to_owned())) {
            return;
        }
        for written in writer.child_messages().filter(|child| !child.is_map_entry()) {
            match reader.child_messages().find(|message| message.name() == written.name()) {
                Some(message) => self.messages(&message, &written, depth + 1),
                None => self.refuse(written.full_name(), "the message is gone"),
            }
        }
        for field in reader.fields() {
            match writer.get_field(field.number()) {
                Some(written) => self.fields(&field, &written, depth),
                None if field.cardinality() == Cardinality::Required => {
                    self.refuse(field.full_name(), "a required field was added");
                }
                None => {}
            }
        }
        for written in writer.fields().filter(|written| reader.get_field(written.number()).is_none()) {
            if written.cardinality() == Cardinality::Required {
                self.refuse(written.full_name(), "a required field is gone");
            }
            if in_oneof(&written) {
                self.refuse(written.full_name(), "a field of a oneof is gone");
            }
        }
        for oneof in reader.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let moved: Vec<_> = oneof
                .fields()
                .filter_map(|field| writer.get_field(field.number()))
                .filter(|written| !in_oneof(written))
                .collect();
            let existed = writer.oneofs().any(|was| was.name() == oneof.name());
            if moved.len() > 1 || (existed && !moved.is_empty()) {
                self.refuse(oneof.full_name(), "fields moved into the oneof");
            }
        }
    }

    fn fields(&mut self, reader: &FieldDescriptor, writer: &FieldDescriptor, depth: usize) {
        let path = reader.full_name();
        let required = |field: &FieldDescriptor| field.cardinality() == Cardinality::Required;
        if required(reader) != required(writer) {
            self.refuse(path, "the field became required, or is no longer");
        }
        if reader.is_map() != writer.is_map() {
            return self.refuse(path, "the field became a map, or is no longer");
        }
        let (r, w) = (reader.kind(), writer.kind());
        if !reader.is_map()
            && reader.is_list() != writer.is_list()
            && !matches!(r, Kind::String | Kind::Bytes | Kind::Message(_))
        {
            self.refuse(path, "the field became repeated, or is no longer");
        }
        match (&r, &w) {
            (Kind::Message(r), Kind::Message(w)) if reader.is_map() => {
                for (r, w) in r.fields().zip(w.fields()) {
                    self.fields(&r, &w, depth + 1);
                }
            }
            (Kind::Message(r), Kind::Message(w)) => {
                if r.full_name() != w.full_name() {
                    self.refuse(path, format_args!("message {} became {}", w.full_name(), r.full_name()));
                }
                self.messages(r, w, depth + 1);
            }
            (r, w) if group(r) != group(w) || group(r) == Group::Message => {
                self.refuse(path, format_args!("type {w:?} became {r:?}"));
            }
            _ => {}
        }
    }
}

fn in_oneof(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic())
}

/// Types that are the same on the wire.
#[derive(PartialEq, Eq)]
enum Group {
    Varint,
    ZigZag,
    Fixed32,
    Fixed64,
    Float,
    Double,
    Bytes,
    Message,
}

fn group(kind: &Kind) -> Group {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => Group::Varint,
        Kind::Sint32 | Kind::Sint64 => Group::ZigZag,
        Kind::Fixed32 | Kind::Sfixed32 => Group::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 => Group::Fixed64,
        Kind::Float => Group::Float,
        Kind::Double => Group::Double,
        Kind::String | Kind::Bytes => Group::Bytes,
        Kind::Message(_) => Group::Message,
    }
}
