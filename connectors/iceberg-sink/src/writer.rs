//! Which rows are in which data file: one file grows for each partition, and all of them share one budget of memory.

use std::collections::BTreeMap;

use millrace_connector_encode::datum::Datum;
use millrace_sdk::Error;

use crate::commit::{NewRows, Session};
use crate::file::{self, Growing};
use crate::metadata::Metadata;
use crate::partition::Divider;
use crate::place::Warehouse;
use crate::schema::{Columns, Layout};
use crate::settings::Settings;
use crate::store::Store;

/// Most files that grow at a time; past it the largest is finished.
const OPEN_MAX: usize = if cfg!(test) { 8 } else { 1000 };

/// Files that are finished and not committed after which a commit is due: each is remembered with what is in it.
const CLOSED_MAX: usize = 4_000;

/// Writes rows of one layout.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) layout: Layout,
    columns: Columns,
    divider: Divider,
    /// By what tells partitions apart.
    open: BTreeMap<Vec<Option<Vec<u8>>>, Growing>,
    /// Finished, and not committed.
    closed: Vec<Growing>,
    held: usize,
}

fn unwritable(why: String) -> Error {
    Error::fatal("table.unwritable", why)
}

impl Writer {
    /// For the table as it is now.
    pub(crate) fn new(metadata: &Metadata) -> Result<Self, Error> {
        let (columns, spec) = (metadata.columns().map_err(unwritable)?, metadata.spec().map_err(unwritable)?);
        let layout = columns.layout().map_err(unwritable)?;
        let divider = Divider::new(&spec, &columns, &layout).map_err(unwritable)?;
        Ok(Self { layout, columns, divider, open: BTreeMap::new(), closed: Vec::new(), held: 0 })
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

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Adds a row. Asks the store for nothing.
    pub(crate) fn push(
        &mut self,
        row: &[Datum],
        session: &Session,
        settings: &Settings,
        next_file: &mut u64,
    ) -> Result<(), Error> {
        let partition = self.divider.partition(row);
        let key = self.divider.key(&partition);
        if let Some(file) = self.open.get(&key)
            && file.is_full(settings.target_file_size.bytes_u64())
        {
            self.close(&key)?;
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_MAX
                && let Some(largest) = self.largest()
            {
                self.close(&largest)?;
            }
            let name = session.fence.instance.data_file(*next_file);
            let file = Growing::begin(session.key(&name)?, partition, &self.layout, settings.codec())?;
            *next_file += 1;
            self.held += file.held();
            self.open.insert(key.clone(), file);
        }
        if let Some(file) = self.open.get_mut(&key) {
            let before = file.held();
            file.push(row)?;
            self.held = (self.held + file.held()).saturating_sub(before);
        }
        Ok(())
    }

    fn largest(&self) -> Option<Vec<Option<Vec<u8>>>> {
        self.open.iter().max_by_key(|(_, file)| file.held()).map(|(key, _)| key.clone())
    }

    /// Whether so many files are finished that they want to be committed, whenever that was to be.
    pub(crate) fn is_full(&self) -> bool {
        self.closed.len() >= CLOSED_MAX
    }

    fn close(&mut self, key: &[Option<Vec<u8>>]) -> Result<(), Error> {
        // Finished first: what fails stays where it was.
        if let Some(file) = self.open.get_mut(key) {
            file.finish()?;
        }
        self.closed.extend(self.open.remove(key));
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        self.held = self.open.values().chain(&self.closed).map(Growing::held).sum();
    }

    fn upload(&mut self, store: &Store) -> Result<(), Error> {
        let mut files: Vec<&mut Growing> = self.closed.iter_mut().chain(self.open.values_mut()).collect();
        let uploaded = file::upload(store, &mut files);
        self.count();
        uploaded
    }

    /// Uploads what can be, and makes room where it is wanted, down to half of the budget: the largest file gives first.
    pub(crate) fn relieve(&mut self, store: &Store, settings: &Settings) -> Result<(), Error> {
        self.upload(store)?;
        let most = settings.buffer.bytes();
        if self.held < most {
            return Ok(());
        }
        while self.held > most / 2 {
            let Some(largest) = self.largest() else { break };
            if let Some(file) = self.open.get_mut(&largest)
                && !file.encode()?
            {
                self.close(&largest)?;
            }
            self.upload(store)?;
        }
        Ok(())
    }

    /// Finishes all files, and gives them away with what they were written by; none: there are no rows. After an error it is to be called again.
    pub(crate) fn finish(&mut self, store: &Store, warehouse: &Warehouse) -> Result<Option<NewRows>, Error> {
        let keys: Vec<_> = self.open.keys().cloned().collect();
        keys.iter().try_for_each(|key| self.close(key))?;
        self.upload(store)?;
        let files: Vec<_> = self.closed.drain(..).map(|file| file.entry(warehouse)).collect();
        self.count();
        let (columns, divider) = (self.columns.clone(), self.divider.clone());
        Ok((!files.is_empty()).then_some(NewRows { files, columns, divider }))
    }
}
