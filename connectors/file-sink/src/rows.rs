//! Values as rows of Avro and Parquet files.

use millrace_connector_encode::content::{Added, Content, Format, Kind, NullValues, Options, Value};
use millrace_sdk::{Error, Rejection};

use crate::settings::{self, Settings};

/// Writes one file after the other.
#[derive(Debug)]
pub struct Rows {
    kind: Kind,
    /// The file at hand; none: the next record begins one.
    content: Option<Content>,
}

impl Rows {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let schema = settings.columns_of_schema().transpose();
        let options = schema.map(|schema| Options {
            format: if settings.format() == settings::Format::Avro { Format::Avro } else { Format::Parquet },
            codec: settings.codec(),
            schema,
            columns: None,
            delimiter: b',',
            header: false,
        });
        let kind = options.and_then(Kind::new);
        let kind = kind.map_err(|why| Error::fatal("settings", format!("/schema: {why}")))?;
        Ok(Self { kind, content: None })
    }

    /// Adds a record, and what can be written by now to `out`.
    pub fn encode(
        &mut self,
        value: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Result<Added, Rejection>, Error> {
        let Some(value) = value else {
            return Ok(Err(Rejection::new("file.null", NullValues::MISSING)));
        };
        let value = match Value::read(value) {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        };
        let content = match &mut self.content {
            Some(content) => content,
            none => match self.kind.begin(&value) {
                Ok(content) => none.insert(content),
                Err(why) => return Ok(Err(why)),
            },
        };
        let added = content.add(&mut self.kind, &value)?;
        out.append(&mut content.out);
        Ok(added)
    }

    /// Bytes of records that are not in `out` yet.
    pub fn pending(&self) -> usize {
        self.content.as_ref().map_or(0, Content::pending)
    }

    /// Ends the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(mut content) = self.content.take() else { return Ok(()) };
        content.finish(&self.kind)?;
        out.append(&mut content.out);
        Ok(())
    }
}
