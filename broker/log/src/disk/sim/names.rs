//! The folders of the simulated disk: names as programs see them, and the changes a power cut may undo.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::Dice;
use crate::disk::DirEntry;

/// What a name stands for. A folder's own contents live in [`Names::dirs`] under its number, so that renaming the
/// folder moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    File(u64),
    Dir(u64),
}

/// A change of a folder that a power cut may undo. A rename within a folder is one change, as journals have it.
#[derive(Clone, Debug)]
enum Change {
    Set(String, Target),
    Remove(String),
    Rename(String, String, Target),
}

#[derive(Clone, Debug, Default)]
struct Dir {
    seen: BTreeMap<String, Target>,
    durable: BTreeMap<String, Target>,
    unsynced: Vec<Change>,
}

/// All folders; number 0 is the root.
#[derive(Clone, Debug)]
pub(super) struct Names {
    dirs: BTreeMap<u64, Dir>,
    next_dir: u64,
}

impl Default for Names {
    fn default() -> Self {
        Names { dirs: BTreeMap::from([(0, Dir::default())]), next_dir: 1 }
    }
}

impl Dir {
    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, Target>, change: &Change) {
    match change {
        Change::Set(name, target) => {
            names.insert(name.clone(), *target);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to, target) => {
            names.remove(from);
            names.insert(to.clone(), *target);
        }
    }
}

impl Names {
    pub(super) fn file(&self, path: &Path) -> Option<u64> {
        match self.target(path)? {
            Target::File(id) => Some(id),
            Target::Dir(_) => None,
        }
    }

    /// The numbers of all files that a name still leads to.
    pub(super) fn all_files(&self) -> BTreeSet<u64> {
        let targets = self.dirs.values().flat_map(|dir| dir.seen.values());
        targets.filter_map(|t| if let Target::File(id) = t { Some(*id) } else { None }).collect()
    }

    pub(super) fn create(&mut self, path: &Path, id: u64) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        self.dir_mut(dir)?.change(Change::Set(name, Target::File(id)));
        Ok(())
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::new();
        for part in path.components() {
            at.push(part);
            match self.target(&at) {
                Some(Target::Dir(_)) => {}
                Some(Target::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let (dir, name) = self.parent(&at)?;
                    let number = self.next_dir;
                    self.next_dir += 1;
                    self.dirs.insert(number, Dir::default());
                    self.dir_mut(dir)?.change(Change::Set(name, Target::Dir(number)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let target = self.target(from).ok_or(io::ErrorKind::NotFound)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        if from_dir == to_dir {
            self.dir_mut(from_dir)?.change(Change::Rename(from_name, to_name, target));
        } else {
            self.dir_mut(to_dir)?.change(Change::Set(to_name, target));
            self.dir_mut(from_dir)?.change(Change::Remove(from_name));
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.file(path).ok_or(io::ErrorKind::NotFound)?;
        let (dir, name) = self.parent(path)?;
        self.dir_mut(dir)?.change(Change::Remove(name));
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let number = self.dir_number(path)?;
        if !self.dir_mut(number)?.seen.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.parent(path)?;
        self.dir_mut(dir)?.change(Change::Remove(name));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let number = self.dir_number(path)?;
        let dir = self.dir_mut(number)?;
        dir.durable = dir.seen.clone();
        dir.unsynced.clear();
        Ok(())
    }

    /// Names with the number of the file each leads to, `None` for a folder.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(DirEntry, Option<u64>)>> {
        let number = self.dir_number(path)?;
        let dir = self.dirs.get(&number).ok_or(io::ErrorKind::NotFound)?;
        let entry = |(name, target): (&String, &Target)| {
            let id = if let Target::File(id) = target { Some(*id) } else { None };
            (DirEntry { name: name.clone(), is_dir: id.is_none(), len: 0 }, id)
        };
        Ok(dir.seen.iter().map(entry).collect())
    }

    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        for dir in self.dirs.values_mut() {
            let survivors = dice.up_to(dir.unsynced.len() as u64) as usize;
            for change in dir.unsynced.drain(..).take(survivors) {
                apply(&mut dir.durable, &change);
            }
            dir.seen = dir.durable.clone();
        }
    }

    fn target(&self, path: &Path) -> Option<Target> {
        let mut at = Target::Dir(0);
        for part in path.components() {
            let name = match part {
                std::path::Component::Normal(name) => name.to_str()?,
                std::path::Component::ParentDir => return None,
                _ => continue,
            };
            let Target::Dir(number) = at else { return None };
            at = *self.dirs.get(&number)?.seen.get(name)?;
        }
        Some(at)
    }

    fn dir_number(&self, path: &Path) -> io::Result<u64> {
        match self.target(path) {
            Some(Target::Dir(number)) => Ok(number),
            Some(Target::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.map(str::to_owned).ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.dir_number(parent)?, name))
    }

    fn dir_mut(&mut self, number: u64) -> io::Result<&mut Dir> {
        self.dirs.get_mut(&number).ok_or(io::ErrorKind::NotFound.into())
    }
}
