//! Protobuf records to JSON and back, after Protobuf's own JSON mapping (ProtoJSON), with two differences: fields have the names of the
//! `.proto` file, and 64-bit integers are numbers.
//!
//! Fields that have no presence are written with their default, so that a reader sees every field. Fields that the schema doesn't
//! know have no name and are left out; in the other direction they are an error. Nesting is limited by `prost` to 100 levels.

use std::io;

use millrace_schema::protobuf::Protobuf;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::{Bad, JSON_BYTES_MAX, framing};

/// Writes a record, path to its message included, as JSON behind what is in `out`.
pub(super) fn to_json(schema: &Protobuf, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let (indexes, bytes) = framing::indexes(bytes)?;
    let message = schema.message_at(&indexes);
    let message = message.ok_or_else(|| Bad::new(format!("its schema has no message at {indexes:?}")))?;
    let message = DynamicMessage::decode(message, bytes).map_err(|error| Bad::new(error.to_string()))?;
    let mut limited = Limited { left: JSON_BYTES_MAX, out };
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    let mut serializer = serde_json::Serializer::new(&mut limited);
    message.serialize_with_options(&mut serializer, &options).map_err(|error| Bad::new(error.to_string()))
}

/// An output that ends at a limit: fields that are not there are written, too, so that few bytes may stand for very many.
struct Limited<'o> {
    left: usize,
    out: &'o mut Vec<u8>,
}

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            io::Error::other(format!("it comes to more than {JSON_BYTES_MAX} bytes of JSON"))
        })?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a JSON document as a record of a message behind what is in `out`.
pub(super) fn from_json(
    message: &MessageDescriptor,
    indexes: &[usize],
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let parsed = DynamicMessage::deserialize_with_options(message.clone(), &mut deserializer, &options);
    let parsed = parsed.and_then(|parsed| deserializer.end().map(|()| parsed));
    let parsed = parsed.map_err(|error| Bad::new(error.to_string()))?;
    framing::put_indexes(indexes, out);
    // A Vec takes whatever comes.
    parsed.encode_raw(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use millrace_schema::{Kind, Schema};
    use proptest::prelude::*;

    use super::*;

    fn schema(text: &str) -> Protobuf {
        match Schema::parse(Kind::Protobuf, text, &[]).unwrap() {
            Schema::Protobuf(schema) => schema,
            other => panic!("{other:?}"),
        }
    }

    fn json(schema: &Protobuf, bytes: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        to_json(schema, bytes, &mut out).map_err(|bad| bad.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn hostile_records_end_at_a_limit() {
        let fields: String = (1..1_000).map(|number| format!("int32 field_{number} = {number};")).collect();
        let wide = schema(&format!(
            r#"syntax = "proto3"; message All {{ repeated Wide all = 1; All deeper = 2; }} message Wide {{ {fields} }}"#
        ));
        assert!(json(&wide, &[0, 10, 0]).unwrap().contains("\"field_999\":0"));
        let many = [vec![0], [10, 0].repeat(10_000)].concat();
        assert!(json(&wide, &many).unwrap_err().contains("it comes to more than 8388608 bytes of JSON"));
        // Messages within messages, from the inside out.
        let mut deep = Vec::new();
        for _ in 0..1_000 {
            let mut outer = vec![18];
            crate::convert::put_varint(deep.len() as u64, &mut outer);
            outer.append(&mut deep);
            deep = outer;
        }
        deep.insert(0, 0);
        assert!(json(&wide, &deep).is_err());
        let text = format!("{}1{}", r#"{"deeper":"#.repeat(1_000), "}".repeat(1_000));
        let message = wide.message_at(&[0]).unwrap();
        assert!(from_json(&message, &[0], text.as_bytes(), &mut Vec::new()).is_err());
    }

    /// Parsed once: that takes longer than reading many records.
    static ALL: LazyLock<Protobuf> = LazyLock::new(|| {
        schema(
            r#"syntax = "proto3"; import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/any.proto";
            message A { A a = 1; map<string, int32> m = 2; google.protobuf.Struct s = 3; google.protobuf.Timestamp t = 4; google.protobuf.Any x = 5; oneof o { string p = 6; bytes q = 7; } }"#,
        )
    });

    proptest! {
        #[test]
        fn any_bytes_are_read_calmly(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = json(&ALL, &[&[0][..], &bytes].concat());
            let _ = json(&ALL, &bytes);
        }
    }
}
