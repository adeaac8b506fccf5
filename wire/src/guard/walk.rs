//! Walks over a message's bytes by the table of its fields.

use super::schema::{Field, Kind, Message};
use super::{Error, Fault};
use crate::varint;

/// Checks that `body` begins with one `message` of this version, with at most `max_elements` array elements; gives the
/// number of bytes after it.
pub(super) fn walk(
    message: &Message,
    version: i16,
    body: &[u8],
    max_elements: usize,
    on_error_code: Option<&mut dyn FnMut(i16)>,
) -> Result<usize, Error> {
    let flexible = message.is_flexible(version);
    let (elements_left, field) = (max_elements, "message");
    let mut walk = Walk { rest: body, version, flexible, max_elements, elements_left, field, on_error_code };
    match walk.fields(&message.fields) {
        Ok(()) => Ok(walk.rest.len()),
        Err(what) => Err(Error::Malformed {
            message: message.name,
            version,
            field: walk.field,
            at: body.len() - walk.rest.len(),
            what,
        }),
    }
}

/// Recursion goes no deeper than the table's own nesting.
struct Walk<'a, 'f> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    max_elements: usize,
    elements_left: usize,
    /// Last field that was begun, for the error.
    field: &'static str,
    /// Is told the value of every field called `error_code`.
    on_error_code: Option<&'f mut dyn FnMut(i16)>,
}

impl Walk<'_, '_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), Fault> {
        for field in fields {
            if field.tag.is_none() && field.versions.contains(&self.version) {
                self.field = field.name;
                self.value(&field.kind, field.nullable)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Result<(), Fault> {
        match kind {
            Kind::Fixed(2) if self.on_error_code.is_some() && self.field == "error_code" => {
                let code = i16::from_be_bytes(self.take()?);
                if let Some(on_error_code) = &mut self.on_error_code {
                    on_error_code(code);
                }
                Ok(())
            }
            Kind::Fixed(size) => self.skip(*size),
            Kind::Str | Kind::Bytes if self.flexible => {
                let len = self.compact_len()?;
                self.bytes(len, nullable)
            }
            Kind::Str => {
                let len = i16::from_be_bytes(self.take()?);
                self.bytes(i64::from(len), nullable)
            }
            Kind::Bytes => {
                let len = i32::from_be_bytes(self.take()?);
                self.bytes(i64::from(len), nullable)
            }
            Kind::Array(element) => self.array(element, nullable),
            Kind::Struct(fields) if nullable => match i8::from_be_bytes(self.take()?) {
                1 => self.fields(fields),
                -1 => Ok(()),
                other => Err(Fault::Presence(other)),
            },
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn array(&mut self, element: &Kind, nullable: bool) -> Result<(), Fault> {
        let count = if self.flexible {
            self.compact_len()?
        } else {
            let count = i32::from_be_bytes(self.take()?);
            i64::from(count)
        };
        let Some(count) = self.length(count, nullable)? else { return Ok(()) };
        self.elements_left =
            self.elements_left.checked_sub(count).ok_or(Fault::TooManyElements(self.max_elements))?;
        if let Kind::Fixed(size) = element {
            return self.skip(count.saturating_mul(*size));
        }
        let field = self.field;
        for _ in 0..count {
            self.value(element, false)?;
            self.field = field;
        }
        Ok(())
    }

    /// Known tags are walked over, since the decoder trusts their content more than their size; others are skipped.
    fn tagged_fields(&mut self, fields: &[Field]) -> Result<(), Fault> {
        self.field = "tagged fields";
        for _ in 0..varint::read_u32(&mut self.rest)? {
            let tag = varint::read_u32(&mut self.rest)?;
            let size = varint::read_u32(&mut self.rest)? as usize;
            let before = self.rest.len();
            if size > before {
                return Err(Fault::Length { len: size as i64, have: before });
            }
            let known =
                fields.iter().find(|field| field.tag == Some(tag) && field.versions.contains(&self.version));
            let Some(field) = known else {
                // The decoder keeps each in a map, which takes far more memory than its two bytes here.
                self.elements_left =
                    self.elements_left.checked_sub(1).ok_or(Fault::TooManyElements(self.max_elements))?;
                self.skip(size)?;
                continue;
            };
            self.field = field.name;
            self.value(&field.kind, field.nullable)?;
            let used = before - self.rest.len();
            if used != size {
                return Err(Fault::TagSize { size, used });
            }
            self.field = "tagged fields";
        }
        Ok(())
    }

    fn bytes(&mut self, len: i64, nullable: bool) -> Result<(), Fault> {
        match self.length(len, nullable)? {
            Some(len) => self.skip(len),
            None => Ok(()),
        }
    }

    /// Compact lengths are one more than the length; 0 is null, which the other forms write as -1.
    fn compact_len(&mut self) -> Result<i64, Fault> {
        Ok(i64::from(varint::read_u32(&mut self.rest)?) - 1)
    }

    /// A length or count that fits into what is left (an element has at least one byte), or `None` for null.
    fn length(&self, len: i64, nullable: bool) -> Result<Option<usize>, Fault> {
        match usize::try_from(len) {
            Ok(fits) if fits <= self.rest.len() => Ok(Some(fits)),
            Err(_) if len == -1 && nullable => Ok(None),
            Err(_) if len == -1 => Err(Fault::Null),
            _ => Err(Fault::Length { len, have: self.rest.len() }),
        }
    }

    fn skip(&mut self, size: usize) -> Result<(), Fault> {
        let fault = Fault::Truncated { need: size, have: self.rest.len() };
        self.rest = self.rest.get(size..).ok_or(fault)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let fault = Fault::Truncated { need: N, have: self.rest.len() };
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(fault)?;
        self.rest = rest;
        Ok(*head)
    }
}
