//! Which rows are in which file: rows, and where they are upserted, what they take the place of. All files share one budget of memory.

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Field;
use millrace_sdk::{Error, Rejection};

use crate::commit::NewRows;
use crate::file::{self, Growing};
use crate::key::Key;
use crate::manifest::Content;
use crate::metadata::Metadata;
use crate::partition::Divider;
use crate::rows::Value;
use crate::schema::Columns;
use crate::settings::Settings;
use crate::shelf::{Making, Shelf};
use crate::store::Store;
use crate::upsert::Upserts;

/// Files that are finished and not committed after which a commit is due: each is remembered with what is in it.
const CLOSED_MAX: usize = 4_000;

/// Writes rows of one layout.
#[derive(Debug)]
pub(crate) struct Writer {
    columns: Columns,
    divider: Divider,
    rows: Shelf,
    /// None: rows are only added.
    upserts: Option<Upserts>,
    /// The columns, as a row's value has to have them: a key may come from elsewhere.
    wanted: Vec<Field>,
    /// Most bytes that keys may have before a commit is due.
    keys_bytes_max: usize,
}

fn unwritable(why: String) -> Error {
    Error::fatal("table.unwritable", why)
}

impl Writer {
    /// For the table as it is now.
    pub(crate) fn new(metadata: &Metadata, settings: &Settings) -> Result<Self, Error> {
        let (columns, spec) = (metadata.columns().map_err(unwritable)?, metadata.spec().map_err(unwritable)?);
        let layout = columns.layout().map_err(unwritable)?;
        let divider = Divider::new(&spec, &columns, &layout).map_err(unwritable)?;
        let upserts = Key::of(settings, metadata)?.map(Upserts::new);
        let mut wanted = layout.schema.fields.clone();
        for at in upserts.iter().flat_map(|upserts| &upserts.key.places) {
            wanted[*at].slot.optional = true;
        }
        let keys_bytes_max = settings.buffer.bytes() / 2;
        let rows = Shelf::new(layout, Content::Data);
        Ok(Self { columns, divider, rows, upserts, wanted, keys_bytes_max })
    }

    /// Whether the table is still as it was then.
    pub(crate) fn is_current(&self, metadata: &Metadata) -> bool {
        metadata.columns().is_ok_and(|columns| columns == self.columns)
            && metadata.spec().is_ok_and(|spec| spec == self.divider.spec)
    }

    /// The table's columns.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How rows are divided.
    pub(crate) fn divider(&self) -> &Divider {
        &self.divider
    }

    /// Those of its columns that are written.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.rows.layout.schema.fields
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.rows.held() + self.upserts.as_ref().map_or(0, Upserts::held)
    }

    /// The row of a value, and of what its record's key says.
    pub(crate) fn row(&self, value: &Value<'_>, key: Option<&Value<'_>>) -> Result<Vec<Datum>, Rejection> {
        let Some(Upserts { key: own, .. }) = &self.upserts else { return value.row(self.fields()) };
        let key = key.unwrap_or(value).key(&own.layout.schema.fields)?;
        let mut row = value.row(&self.wanted)?;
        for (at, value) in own.places.iter().zip(key) {
            row[*at] = value;
        }
        Ok(row)
    }

    /// Adds a row. Asks the store for nothing.
    pub(crate) fn push(&mut self, row: &[Datum], making: &mut Making<'_>) -> Result<(), Error> {
        let partition = self.divider.partition(row);
        let place = self.rows.push(row, &partition, &self.divider, making)?;
        match &mut self.upserts {
            Some(upserts) => upserts.put(&upserts.key.in_row(row), Some(place), making),
            None => Ok(()),
        }
    }

    /// Deletes the row that this names.
    pub(crate) fn delete(
        &mut self,
        value: &Value<'_>,
        making: &mut Making<'_>,
    ) -> Result<Result<(), Rejection>, Error> {
        let Some(upserts) = &mut self.upserts else { return Ok(Ok(())) };
        match value.key(&upserts.key.layout.schema.fields) {
            Ok(key) => upserts.put(&key, None, making).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Whether so many files are finished, or so many keys are remembered, that they want to be committed, whenever that was to be.
    pub(crate) fn is_full(&self) -> bool {
        let deletes = self.upserts.as_ref().map_or(0, |upserts| upserts.keys.finished());
        self.rows.finished() + deletes >= CLOSED_MAX || self.has_many_keys()
    }

    /// Whether no more keys may be remembered before a commit.
    pub(crate) fn has_many_keys(&self) -> bool {
        self.upserts.as_ref().is_some_and(|upserts| upserts.is_full(self.keys_bytes_max))
    }

    fn shelves(&mut self) -> impl Iterator<Item = &mut Shelf> {
        let deletes = self.upserts.iter_mut().flat_map(|upserts| [&mut upserts.keys, &mut upserts.positions]);
        std::iter::once(&mut self.rows).chain(deletes)
    }

    fn upload(&mut self, store: &Store) -> Result<(), Error> {
        let mut files: Vec<&mut Growing> = self.shelves().flat_map(Shelf::files).collect();
        let uploaded = file::upload(store, &mut files);
        self.shelves().for_each(Shelf::count);
        uploaded
    }

    /// Uploads what can be, and makes room where it is wanted, down to half of the budget: the largest file gives first.
    pub(crate) fn relieve(&mut self, store: &Store, settings: &Settings) -> Result<(), Error> {
        self.upload(store)?;
        let most = settings.buffer.bytes();
        if self.held() < most {
            return Ok(());
        }
        // What keys hold stays until the commit.
        let keys = self.upserts.as_ref().map_or(0, Upserts::remembered);
        while self.held().saturating_sub(keys) > most.saturating_sub(keys) / 2 {
            let largest = self.shelves().filter_map(|shelf| {
                let (partition, held) = shelf.largest()?;
                Some((held, partition, shelf))
            });
            let Some((_, partition, shelf)) = largest.max_by_key(|(held, ..)| *held) else { break };
            shelf.encode(&partition)?;
            self.upload(store)?;
        }
        Ok(())
    }

    /// Finishes all files, and gives them away with what they were written by; none: there are no rows. After an error it is to be called again.
    pub(crate) fn finish(
        &mut self,
        store: &Store,
        making: &mut Making<'_>,
    ) -> Result<Option<NewRows>, Error> {
        self.rows.close_all()?;
        if let Some(upserts) = &mut self.upserts {
            upserts.close(&self.divider, making)?;
        }
        self.upload(store)?;
        let warehouse = making.session.warehouse();
        let files = self.rows.take(warehouse);
        let deletes = self.upserts.as_mut().map_or_else(Vec::new, |upserts| {
            upserts.forget();
            let mut deletes = upserts.keys.take(warehouse);
            deletes.extend(upserts.positions.take(warehouse));
            deletes
        });
        let (columns, divider) = (self.columns.clone(), self.divider.clone());
        let is_any = !files.is_empty() || !deletes.is_empty();
        Ok(is_any.then_some(NewRows { files, deletes, columns, divider }))
    }
}
