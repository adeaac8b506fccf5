//! One look at what is in the bucket, from its beginning to its end, page by page.

use std::collections::{BTreeSet, VecDeque};

use millrace_sdk::Error;
use millrace_sdk::object_store::{ENTRIES_MAX, Meta, Store};

use crate::settings::Settings;
use crate::state::{Print, print_of};

/// A listing that is under way.
#[derive(Debug, Default)]
pub struct Listing {
    /// Objects that were listed and not looked at.
    queue: VecDeque<Meta>,
    /// The last key that was listed.
    after: Option<String>,
    /// Whether it is at the end.
    ended: bool,
    /// Whether an object was left for the next listing.
    pub left: bool,
    /// What was there, of this task's.
    pub seen: BTreeSet<Print>,
    /// Keys so far.
    pub keys: usize,
}

impl Listing {
    /// From behind this key, or from the beginning.
    pub fn from(after: Option<String>) -> Self {
        Self { after, ..Self::default() }
    }

    /// Puts an object in front.
    pub fn put_first(&mut self, object: Meta) {
        self.seen.insert(print_of(&object));
        self.queue.push_front(object);
    }

    /// The next object; none: the page is through.
    pub fn take(&mut self) -> Option<Meta> {
        self.queue.pop_front()
    }

    /// The last key that was listed.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Asks for the next page. False: there is none.
    pub fn next_page(
        &mut self,
        store: &Store,
        settings: &Settings,
        is_mine: impl Fn(&str) -> bool,
    ) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        let page = store.list(&settings.prefix, self.after.as_deref(), ENTRIES_MAX)?;
        self.ended = !page.more;
        self.keys += page.objects.len();
        if let Some(last) = page.objects.last() {
            self.after = Some(last.key.clone());
        } else {
            self.ended = true;
        }
        for object in page.objects {
            if settings.wants(&object.key) && is_mine(&object.key) {
                self.seen.insert(print_of(&object));
                self.queue.push_back(object);
            }
        }
        Ok(true)
    }
}
