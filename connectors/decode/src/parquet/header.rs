//! What stands before a page: `PageHeader` of parquet.thrift, in Thrift's compact protocol. Statistics are passed over.

/// What stands before a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Bytes without compression.
    pub(super) plain: usize,
    /// Bytes in the file.
    pub(super) packed: usize,
    /// CRC-32 of those.
    pub(super) crc: Option<u32>,
}

/// What a page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data {
        values: u32,
        encoding: i32,
        def: i32,
        rep: i32,
    },
    DataV2 {
        values: u32,
        nulls: u32,
        rows: u32,
        encoding: i32,
        def_bytes: u32,
        rep_bytes: u32,
        packed: bool,
    },
    Dictionary {
        values: u32,
        encoding: i32,
        sorted: bool,
    },
    /// Something that is passed over.
    Other,
}

/// Deepest nesting of what is passed over.
const DEPTH_MAX: u32 = 16;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// It goes on behind the bytes.
    CutOff,
    /// It is none.
    Rotten,
}

/// The header at the front, and its length.
pub(super) fn read(bytes: &[u8]) -> Result<(Header, usize), NoHeader> {
    let mut thrift = Thrift { bytes, at: 0 };
    let (mut ty, mut plain, mut packed, mut crc) = (None, None, None, None);
    let (mut data, mut dictionary, mut data_v2) = (Vec::new(), Vec::new(), Vec::new());
    let mut id = 0;
    while let Some(field) = thrift.field(&mut id)? {
        match (id, field) {
            (1, I32) => ty = Some(thrift.int()?),
            (2, I32) => plain = Some(thrift.int()?),
            (3, I32) => packed = Some(thrift.int()?),
            (4, I32) => crc = Some(thrift.int()? as u32),
            (5, STRUCT) => data = thrift.ints()?,
            (7, STRUCT) => dictionary = thrift.ints()?,
            (8, STRUCT) => data_v2 = thrift.ints()?,
            (_, other) => thrift.skip(other, 0)?,
        }
    }
    let size = |size: Option<i32>| size.and_then(|size| usize::try_from(size).ok()).ok_or(NoHeader::Rotten);
    let of = |fields: &[(i16, i32)], id: i16| {
        fields.iter().find(|(known, _)| *known == id).map(|(_, value)| *value).ok_or(NoHeader::Rotten)
    };
    let count = |fields: &[(i16, i32)], id| {
        of(fields, id).and_then(|n| u32::try_from(n).map_err(|_| NoHeader::Rotten))
    };
    let kind = match ty.ok_or(NoHeader::Rotten)? {
        0 => Kind::Data {
            values: count(&data, 1)?,
            encoding: of(&data, 2)?,
            def: of(&data, 3)?,
            rep: of(&data, 4)?,
        },
        2 => Kind::Dictionary {
            values: count(&dictionary, 1)?,
            encoding: of(&dictionary, 2)?,
            sorted: of(&dictionary, 3).unwrap_or(0) != 0,
        },
        3 => Kind::DataV2 {
            values: count(&data_v2, 1)?,
            nulls: count(&data_v2, 2)?,
            rows: count(&data_v2, 3)?,
            encoding: of(&data_v2, 4)?,
            def_bytes: count(&data_v2, 5)?,
            rep_bytes: count(&data_v2, 6)?,
            packed: of(&data_v2, 7).unwrap_or(1) != 0,
        },
        _ => Kind::Other,
    };
    Ok((Header { kind, plain: size(plain)?, packed: size(packed)?, crc }, thrift.at))
}

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Result<u8, NoHeader> {
        let byte = self.bytes.get(self.at).copied().ok_or(NoHeader::CutOff)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, NoHeader> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(NoHeader::Rotten)
    }

    fn int(&mut self) -> Result<i32, NoHeader> {
        let value = self.varint()?;
        i32::try_from((value >> 1) as i64 ^ -((value & 1) as i64)).map_err(|_| NoHeader::Rotten)
    }

    /// The type of the next field, whose id is left in `id`; none: the structure ends.
    fn field(&mut self, id: &mut i16) -> Result<Option<u8>, NoHeader> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *id = match head >> 4 {
            0 => i16::try_from(self.int()?).map_err(|_| NoHeader::Rotten)?,
            delta => id.checked_add(i16::from(delta)).ok_or(NoHeader::Rotten)?,
        };
        Ok(Some(head & 0x0f))
    }

    /// The numbers of a structure; booleans count as 0 and 1.
    fn ints(&mut self) -> Result<Vec<(i16, i32)>, NoHeader> {
        let (mut found, mut id) = (Vec::new(), 0);
        while let Some(field) = self.field(&mut id)? {
            match field {
                I32 => found.push((id, self.int()?)),
                TRUE => found.push((id, 1)),
                FALSE => found.push((id, 0)),
                other => self.skip(other, 0)?,
            }
        }
        Ok(found)
    }

    fn pass(&mut self, length: u64) -> Result<(), NoHeader> {
        let length = usize::try_from(length).map_err(|_| NoHeader::Rotten)?;
        let end = self.at.checked_add(length).ok_or(NoHeader::Rotten)?;
        if end > self.bytes.len() {
            return Err(NoHeader::CutOff);
        }
        self.at = end;
        Ok(())
    }

    fn skip(&mut self, ty: u8, depth: u32) -> Result<(), NoHeader> {
        if depth > DEPTH_MAX {
            return Err(NoHeader::Rotten);
        }
        match ty {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.pass(8),
            UUID => self.pass(16),
            BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..count).try_for_each(|_| self.element(head & 0x0f, depth))
            }
            MAP => {
                let count = self.varint()?;
                let types = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.element(types >> 4, depth)?;
                    self.element(types & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(field) = self.field(&mut id)? {
                    self.skip(field, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(NoHeader::Rotten),
        }
    }

    /// Within lists and maps a boolean has a byte.
    fn element(&mut self, ty: u8, depth: u32) -> Result<(), NoHeader> {
        if matches!(ty, TRUE | FALSE) { self.pass(1) } else { self.skip(ty, depth + 1) }
    }
}
