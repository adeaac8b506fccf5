//! What the rows of a commit take the place of (specification, "Row-level Deletes").
//!
//! Rows of earlier commits are found by their key: an equality delete, one for each key that a commit is about, holds for every file with a lower sequence
//! number, and so for none of the commit's own. Of a key that comes again within one commit the row before is found by its place: a position delete. So
//! the keys of a commit are remembered until it is made, and there can only be so many of them: past that a commit is due.

use std::collections::{BTreeMap, HashMap};

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::{Field, Schema, Slot, Type};
use millrace_sdk::Error;

use crate::key::Key;
use crate::manifest::{Content, PATH_ID, POSITION_ID};
use crate::partition::Divider;
use crate::schema::Layout;
use crate::shelf::{Making, Partition, Shelf};

/// Keys of a commit after which it is due, however few bytes they have.
const KEYS_MAX: usize = if cfg!(test) { 40 } else { 1_000_000 };
/// What a key takes besides its bytes, roughly.
const KEY_BYTES: usize = 96;
/// What a row takes that something came in the place of.
const PLACE_BYTES: usize = 16;

/// Where a row is: the number of its file, and its own in it.
type Place = (u64, u64);

/// A partition, and places of rows in it.
type Places = (Vec<Datum>, Vec<Place>);

/// What the rows of one commit take the place of.
#[derive(Debug)]
pub(crate) struct Upserts {
    pub(crate) key: Key,
    /// Equality deletes.
    pub(crate) keys: Shelf,
    /// Position deletes.
    pub(crate) positions: Shelf,
    /// Where each key's row is that was added last; none: it was deleted.
    last: HashMap<Vec<u8>, Option<Place>>,
    /// The URIs of this commit's data files, by number, as they were when these began: a table's location may change.
    uris: BTreeMap<u64, String>,
    /// Rows of this commit that others took the place of.
    replaced: BTreeMap<Partition, Places>,
    /// What the two hold, roughly.
    bytes: usize,
}

impl Upserts {
    pub(crate) fn new(key: Key) -> Self {
        let keys = Shelf::new(key.layout.clone(), Content::Equality(key.layout.ids.clone()));
        let positions = Shelf::new(positions(), Content::Positions);
        Self {
            key,
            keys,
            positions,
            last: HashMap::new(),
            uris: BTreeMap::new(),
            replaced: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes + self.keys.held() + self.positions.held()
    }

    /// Those of them that only a commit frees.
    pub(crate) fn remembered(&self) -> usize {
        self.bytes
    }

    /// Whether a commit is due, so that keys can be forgotten.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.last.len() >= KEYS_MAX || self.bytes >= bytes_max
    }

    /// The row with this key is at this place from now on, and at no other; none: it is gone.
    pub(crate) fn put(
        &mut self,
        key: &[Datum],
        place: Option<Place>,
        making: &mut Making<'_>,
    ) -> Result<(), Error> {
        if let Some((number, _)) = place
            && !self.uris.contains_key(&number)
        {
            let name = making.session.key(&making.session.fence.instance.data_file(number))?;
            self.uris.insert(number, making.session.warehouse().uri(&name));
        }
        let bytes = self.key.bytes(key);
        let partition = self.key.divider.partition(key);
        match self.last.get_mut(&bytes) {
            None => {
                self.keys.push(key, &partition, &self.key.divider, making)?;
                self.bytes += bytes.len() + KEY_BYTES;
                self.last.insert(bytes, place);
            }
            Some(last) => {
                if let Some(before) = std::mem::replace(last, place) {
                    let id = self.key.divider.key(&partition);
                    self.replaced.entry(id).or_insert_with(|| (partition, Vec::new())).1.push(before);
                    self.bytes += PLACE_BYTES;
                }
            }
        }
        Ok(())
    }

    /// Finishes the files of deletes. After an error it is to be called again, and may be given more before.
    pub(crate) fn close(&mut self, divider: &Divider, making: &mut Making<'_>) -> Result<(), Error> {
        self.keys.close_all()?;
        while let Some((partition, mut places)) = self.replaced.pop_first().map(|(_, replaced)| replaced) {
            // As the specification wants them: by file, and by position within it. Names go by numbers.
            places.sort_unstable();
            for (number, row) in places {
                let uri = self.uris.get(&number);
                let uri = uri.ok_or_else(|| Error::fatal("iceberg.file", "a row without a file"))?;
                let path = Datum::Text(uri.clone());
                let row = i64::try_from(row).unwrap_or(i64::MAX);
                self.positions.push(&[path, Datum::Long(row)], &partition, divider, making)?;
            }
            // Packed at once: as rows, places take many times what they did as numbers.
            self.positions.close_all()?;
        }
        self.positions.close_all()
    }

    /// What the commit is made of is known to it: keys are those of the next one from now on.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
        self.uris.clear();
        self.bytes = 0;
    }
}

/// The columns of position deletes.
fn positions() -> Layout {
    let field = |name: &str, ty| Field { name: name.to_owned(), slot: Slot { ty, optional: false } };
    let fields = vec![field("file_path", Type::Text), field("pos", Type::Long)];
    Layout { schema: Schema { name: "table".to_owned(), fields }, ids: vec![PATH_ID, POSITION_ID] }
}
