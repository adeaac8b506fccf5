//! Every message, whole, cut short at each byte, and made of noise.

use proptest::prelude::*;

use super::*;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn tuple_of(out: &mut Vec<u8>, values: &[Value<'_>]) {
    out.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Value::Null => out.push(b'n'),
            Value::Unchanged => out.push(b'u'),
            Value::Text(text) => {
                out.push(b't');
                out.extend_from_slice(&(text.len() as i32).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// The message as a server sends it.
pub(crate) fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Message::Begin(begin) => {
            out.push(b'B');
            out.extend_from_slice(&begin.commit_lsn.to_be_bytes());
            out.extend_from_slice(&begin.commit_time.to_be_bytes());
            out.extend_from_slice(&begin.xid.to_be_bytes());
        }
        Message::Commit(commit) => {
            out.extend_from_slice(b"C\0");
            out.extend_from_slice(&commit.commit_lsn.to_be_bytes());
            out.extend_from_slice(&commit.end_lsn.to_be_bytes());
            out.extend_from_slice(&0i64.to_be_bytes());
        }
        Message::Origin => {
            out.push(b'O');
            out.extend_from_slice(&1u64.to_be_bytes());
            text(&mut out, "origin");
        }
        Message::Relation(relation) => {
            out.push(b'R');
            out.extend_from_slice(&relation.id.to_be_bytes());
            text(&mut out, &relation.schema);
            text(&mut out, &relation.name);
            out.push(match relation.identity {
                Identity::Default => b'd',
                Identity::Nothing => b'n',
                Identity::Full => b'f',
                Identity::Index => b'i',
            });
            out.extend_from_slice(&(relation.columns.len() as u16).to_be_bytes());
            for column in &relation.columns {
                out.push(u8::from(column.is_identity));
                text(&mut out, &column.name);
                out.extend_from_slice(&column.type_oid.to_be_bytes());
                out.extend_from_slice(&column.type_modifier.to_be_bytes());
            }
        }
        Message::Type => {
            out.push(b'Y');
            out.extend_from_slice(&9u32.to_be_bytes());
            text(&mut out, "public");
            text(&mut out, "mood");
        }
        Message::Insert { relation, new } => {
            out.push(b'I');
            out.extend_from_slice(&relation.to_be_bytes());
            out.push(b'N');
            tuple_of(&mut out, &new.values);
        }
        Message::Update { relation, old, new } => {
            out.push(b'U');
            out.extend_from_slice(&relation.to_be_bytes());
            if let Some(old) = old {
                out.push(if old.is_whole { b'O' } else { b'K' });
                tuple_of(&mut out, &old.tuple.values);
            }
            out.push(b'N');
            tuple_of(&mut out, &new.values);
        }
        Message::Delete { relation, old } => {
            out.push(b'D');
            out.extend_from_slice(&relation.to_be_bytes());
            out.push(if old.is_whole { b'O' } else { b'K' });
            tuple_of(&mut out, &old.tuple.values);
        }
        Message::Truncate { relations } => {
            out.push(b'T');
            out.extend_from_slice(&(relations.len() as i32).to_be_bytes());
            out.push(0);
            relations.iter().for_each(|relation| out.extend_from_slice(&relation.to_be_bytes()));
        }
        Message::Logical => {
            out.extend_from_slice(b"M\x01");
            out.extend_from_slice(&1u64.to_be_bytes());
            text(&mut out, "prefix");
            out.extend_from_slice(&2i32.to_be_bytes());
            out.extend_from_slice(b"hi");
        }
    }
    out
}

fn every() -> Vec<Message<'static>> {
    let column = |name: &str, is_identity| Column {
        is_identity,
        name: name.to_owned(),
        type_oid: 23,
        type_modifier: -1,
    };
    let row = |values: &[Value<'static>]| Tuple { values: values.to_vec() };
    let whole = [Value::Text("1"), Value::Null, Value::Text(""), Value::Unchanged, Value::Text("ä{\"}")];
    vec![
        Message::Begin(Begin { commit_lsn: 0x1_0000_0002, commit_time: -5, xid: u32::MAX }),
        Message::Commit(Commit { commit_lsn: 7, end_lsn: u64::MAX }),
        Message::Origin,
        Message::Relation(Relation {
            id: 16_384,
            schema: "public".into(),
            name: "ä\"orders".into(),
            identity: Identity::Index,
            columns: vec![column("id", true), column("x", false)],
        }),
        Message::Type,
        Message::Insert { relation: 1, new: row(&whole) },
        Message::Update { relation: 1, old: None, new: row(&whole) },
        Message::Update { relation: 1, old: Some(Old { is_whole: true, tuple: row(&whole) }), new: row(&[]) },
        Message::Delete {
            relation: 2,
            old: Old { is_whole: false, tuple: row(&[Value::Text("1"), Value::Null]) },
        },
        Message::Truncate { relations: vec![1, 2, 3] },
        Message::Logical,
    ]
}

#[test]
fn every_message_is_read() {
    for message in every() {
        assert_eq!(decode(&encode(&message)).as_ref(), Ok(&message));
    }
}

#[test]
fn what_is_cut_or_goes_on_is_refused() {
    for message in every() {
        let mut bytes = encode(&message);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{message:?} cut at {end}");
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(Malformed::Long), "{message:?}");
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let truncate = [b"T".as_slice(), &i32::MAX.to_be_bytes(), b"\0"].concat();
    assert_eq!(decode(&truncate), Err(Malformed::Part("the number of relations")));
    let negative = b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff".as_slice();
    assert_eq!(decode(negative), Err(Malformed::Part("a length")));
    let many = b"I\0\0\0\x01N\xff\xff".as_slice();
    assert_eq!(decode(many), Err(Malformed::Part("the number of columns")));
    let latin = b"I\0\0\0\x01N\0\x01t\0\0\0\x01\xe4".as_slice();
    assert_eq!(decode(latin), Err(Malformed::Part("the encoding of a text")));
    let binary = b"I\0\0\0\x01N\0\x01b\0\0\0\x01x".as_slice();
    assert_eq!(decode(binary), Err(Malformed::Part("the kind of a value")));
    assert_eq!(decode(b"S"), Err(Malformed::Kind(b'S')), "streaming was not asked for");
}

proptest! {
    #[test]
    fn noise_is_never_worse_than_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_message_with_a_wrong_byte_is_never_worse_than_an_error(
        which in 0..11usize, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode(&every()[which]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(message) = decode(&bytes) {
            // What is taken for a message is one: it comes back the same.
            let again = encode(&message);
            prop_assert_eq!(decode(&again), Ok(message));
        }
    }
}
