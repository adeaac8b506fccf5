//! Files of one kind that grow: one for each partition that gets rows.

use std::collections::BTreeMap;

use millrace_connector_encode::Codec;
use millrace_connector_encode::datum::Datum;
use millrace_sdk::Error;

use crate::commit::Session;
use crate::file::Growing;
use crate::manifest::{Content, DataFile};
use crate::partition::Divider;
use crate::place::Warehouse;
use crate::schema::Layout;
use crate::settings::Settings;

/// Most files that grow at a time; past it the largest is finished.
const OPEN_MAX: usize = if cfg!(test) { 8 } else { 1000 };

/// What tells partitions apart.
pub(crate) type Partition = Vec<Option<Vec<u8>>>;

/// Where new files get their names, and what they are like.
pub(crate) struct Making<'a> {
    pub(crate) session: &'a Session,
    codec: Codec,
    target_bytes: u64,
    /// The number of the next file.
    next_file: &'a mut u64,
}

impl<'a> Making<'a> {
    pub(crate) fn new(session: &'a Session, settings: &Settings, next_file: &'a mut u64) -> Self {
        let target_bytes = settings.target_file_size.bytes_u64();
        Self { session, codec: settings.codec(), target_bytes, next_file }
    }
}

/// The files.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) layout: Layout,
    content: Content,
    open: BTreeMap<Partition, Growing>,
    /// Finished, and not committed.
    closed: Vec<Growing>,
    held: usize,
}

impl Shelf {
    /// For rows of this layout.
    pub(crate) fn new(layout: Layout, content: Content) -> Self {
        Self { layout, content, open: BTreeMap::new(), closed: Vec::new(), held: 0 }
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Files that are finished and not committed.
    pub(crate) fn finished(&self) -> usize {
        self.closed.len()
    }

    /// Adds a row to a partition. Asks the store for nothing. Gives back the file's number, and the row's in it.
    pub(crate) fn push(
        &mut self,
        row: &[Datum],
        partition: &[Datum],
        divider: &Divider,
        making: &mut Making<'_>,
    ) -> Result<(u64, u64), Error> {
        let key = divider.key(partition);
        if self.open.get(&key).is_some_and(|file| file.is_full(making.target_bytes)) {
            self.close(&key)?;
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_MAX
                && let Some(largest) = self.largest().map(|(key, _)| key)
            {
                self.close(&largest)?;
            }
            let number = *making.next_file;
            let name = making.session.key(&making.session.fence.instance.data_file(number))?;
            let content = self.content.clone();
            let file =
                Growing::begin((name, number), content, partition.to_vec(), &self.layout, making.codec)?;
            *making.next_file += 1;
            self.held += file.held();
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(&key);
        let file = file.ok_or_else(|| Error::fatal("iceberg.file", "a partition without a file"))?;
        let before = file.held();
        let place = file.push(row)?;
        self.held = (self.held + file.held()).saturating_sub(before);
        Ok(place)
    }

    /// The file that holds most, by its partition, and how much.
    pub(crate) fn largest(&self) -> Option<(Partition, usize)> {
        let largest = self.open.iter().max_by_key(|(_, file)| file.held())?;
        Some((largest.0.clone(), largest.1.held()))
    }

    /// Makes a file's rows into bytes that can be uploaded, or finishes it if they are too few for a part.
    pub(crate) fn encode(&mut self, key: &Partition) -> Result<(), Error> {
        if let Some(file) = self.open.get_mut(key)
            && !file.encode()?
        {
            self.close(key)?;
        }
        self.count();
        Ok(())
    }

    fn close(&mut self, key: &Partition) -> Result<(), Error> {
        // Finished first: what fails stays where it was.
        if let Some(file) = self.open.get_mut(key) {
            file.finish()?;
        }
        self.closed.extend(self.open.remove(key));
        self.count();
        Ok(())
    }

    /// Finishes all files.
    pub(crate) fn close_all(&mut self) -> Result<(), Error> {
        let keys: Vec<_> = self.open.keys().cloned().collect();
        keys.iter().try_for_each(|key| self.close(key))
    }

    /// Counts anew what it holds: somebody has uploaded some of it.
    pub(crate) fn count(&mut self) {
        self.held = self.open.values().chain(&self.closed).map(Growing::held).sum();
    }

    /// All files.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut Growing> {
        self.closed.iter_mut().chain(self.open.values_mut())
    }

    /// Gives the finished files away.
    pub(crate) fn take(&mut self, warehouse: &Warehouse) -> Vec<DataFile> {
        let files = self.closed.drain(..).map(|file| file.entry(warehouse)).collect();
        self.count();
        files
    }
}
