//! Compiled code on disk, so that a component is compiled once per machine and not once per start.
//!
//! Loading compiled code means running it: whoever can put a file where it is read owns the process. So only what this host
//! wrote is loaded:
//! - the folder belongs to this user and nobody else can write to it (else the cache is not used, with a warning);
//! - a key of 32 random bytes lies in it, readable by its owner only; every entry carries an HMAC-SHA-256 under that key over
//!   its name and its code, checked before the code is looked at;
//! - an entry's name holds the hash of the component and of everything in the engine that decides about compiled code (version
//!   of wasmtime, settings, features of the processor), so that an upgrade misses instead of loading stale code.
//!
//! Beside it lie the components themselves that connectors run (`<digest>.wasm`): of a file that was replaced the worker
//! still has what runs, and can go back to it. They are known by their digest, so they need no key.
//!
//! Whatever is torn, foreign or unreadable is ignored and made anew: the cache can be deleted at any time.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::{COMPONENT_BYTES_MAX, Digest};

/// First bytes of an entry; the digit is the version of this layout.
const MAGIC: &[u8; 8] = b"MRCODE1\n";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Components that are kept; of more the ones that nobody used for longest go.
const KEPT_MAX: usize = 64;
/// Largest entry that is read.
const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// Why the cache can't be used. The host goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("compiled-code cache {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could put code there.
    #[error(
        "compiled-code cache {0} can be written to by other users, or belongs to one; make it yours with mode 0700, or remove it"
    )]
    NotPrivate(PathBuf),
    /// The key has the wrong length.
    #[error("compiled-code cache {0}: the key is damaged; remove the folder")]
    Key(PathBuf),
}

/// A folder with compiled code.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens the folder, making it and its key when they are not there.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
        let found = fs::symlink_metadata(dir).map_err(io(dir))?;
        let me = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != me || found.mode() & 0o022 != 0 {
            return Err(Error::NotPrivate(dir.to_owned()));
        }
        let path = dir.join("key");
        let key = match read_key(&path, me)? {
            Some(key) => key,
            None => {
                let mut key = [0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(|error| io(&path)(std::io::Error::other(error)))?;
                write_new(&path, &[&key]).map_err(io(&path))?;
                // Two processes may have made one at the same time: the file decides.
                read_key(&path, me)?.ok_or_else(|| Error::Key(path.clone()))?
            }
        };
        Ok(Self { dir: dir.to_owned(), key })
    }

    /// The compiled form of a component, if this host wrote one for this engine.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let name = entry_name(engine, digest);
        let path = self.dir.join(&name);
        let code = match self.read_entry(&path, &name) {
            Ok(code) => code?,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "compiled code could not be read");
                return None;
            }
        };
        match deserialize(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code does not fit this engine; compiling again");
                None
            }
        }
    }

    /// Keeps the compiled form of a component.
    pub(super) fn store(&self, engine: &Engine, digest: Digest, component: &Component) -> Result<(), Error> {
        let name = entry_name(engine, digest);
        let path = self.dir.join(&name);
        let io = |source| Error::Io { path: path.clone(), source };
        let code = component.serialize().map_err(|error| io(std::io::Error::other(format!("{error:#}"))))?;
        write_new(&path, &[MAGIC, &self.mac(&name, &code), &code]).map_err(io)
    }

    /// The bytes of a component that was kept.
    pub(super) fn kept(&self, digest: Digest) -> Option<Vec<u8>> {
        let path = self.kept_path(digest);
        let mut bytes = Vec::new();
        let mut file = fs::File::open(&path).ok()?;
        (&mut file).take(COMPONENT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        if Digest::of(&bytes) != digest {
            tracing::warn!(path = %path.display(), "a kept component is damaged; it is left aside");
            return None;
        }
        Some(bytes)
    }

    /// Keeps the bytes of a component that a connector runs, or notes that one does.
    pub(super) fn keep(&self, digest: Digest, wasm: impl FnOnce() -> Option<Vec<u8>>) -> Result<(), Error> {
        let path = self.kept_path(digest);
        let io = |source| Error::Io { path: path.clone(), source };
        match OpenOptions::new().append(true).open(&path) {
            Ok(file) => return file.set_modified(std::time::SystemTime::now()).map_err(io),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let Some(wasm) = wasm() else { return Ok(()) };
        write_new(&path, &[&wasm]).map_err(io)?;
        self.forget_oldest().map_err(|source| Error::Io { path: self.dir.clone(), source })
    }

    fn kept_path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }

    fn forget_oldest(&self) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm")
                && let Ok(found) = fs::metadata(&path)
            {
                kept.push((found.modified()?, path));
            }
        }
        kept.sort_unstable();
        // Another process may have been quicker.
        kept.iter().rev().skip(KEPT_MAX).for_each(|(_, path)| drop(fs::remove_file(path)));
        Ok(())
    }

    /// The code in an entry; none: there is no entry, or it is not ours.
    fn read_entry(&self, path: &Path, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        let mut file = match fs::File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut entry =
            Vec::with_capacity(usize::try_from(file.metadata()?.len().min(ENTRY_BYTES_MAX)).unwrap_or(0));
        (&mut file).take(ENTRY_BYTES_MAX).read_to_end(&mut entry)?;
        let Some((head, code)) = entry.split_at_checked(MAGIC.len() + MAC_BYTES) else { return Ok(None) };
        let (magic, mac) = head.split_at(MAGIC.len());
        if magic != MAGIC || self.keyed(name, code).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "compiled code was not written by this host; compiling again");
            return Ok(None);
        }
        Ok(Some(entry.split_off(MAGIC.len() + MAC_BYTES)))
    }

    fn mac(&self, name: &str, code: &[u8]) -> [u8; MAC_BYTES] {
        self.keyed(name, code).finalize().into_bytes().into()
    }

    fn keyed(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

/// Runs on code that this host compiled, as [`Cache::load`] has just established.
#[allow(unsafe_code, reason = "the only way to load compiled code")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was written by `Cache::store` out of `Component::serialize`, and not changed since: its MAC under a key
    // that only this user can read was verified. wasmtime itself checks version and settings.
    unsafe { Component::deserialize(engine, code) }
}

fn entry_name(engine: &Engine, digest: Digest) -> String {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let settings =
        BuildHasherDefault::<DefaultHasher>::default().hash_one(engine.precompile_compatibility_hash());
    format!("{}-{settings:016x}.code", digest.hex())
}

fn read_key(path: &Path, me: u32) -> Result<Option<[u8; KEY_BYTES]>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let found = file.metadata().map_err(io)?;
    if found.uid() != me || found.mode() & 0o077 != 0 {
        return Err(Error::NotPrivate(path.to_owned()));
    }
    let mut key = [0; KEY_BYTES];
    if found.len() != KEY_BYTES as u64 {
        return Err(Error::Key(path.to_owned()));
    }
    file.read_exact(&mut key).map_err(io)?;
    Ok(Some(key))
}

/// Writes a whole file for this user only, under its name in one step: others see all of it or nothing. When the name is
/// taken, the key stays (it decides), code is replaced.
fn write_new(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let unfinished = path.with_extension(format!("{:016x}.new", u64::from_ne_bytes(random)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part));
    let named = written.and_then(|()| match path.file_name() {
        Some(name) if name == "key" => match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        },
        _ => fs::rename(&unfinished, path),
    });
    // Gone already after a rename.
    let _ = fs::remove_file(&unfinished);
    named
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0"; // a component without anything in it

    fn empty() -> Digest {
        Digest::of(EMPTY)
    }

    fn stored() -> (tempfile::TempDir, Engine, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let engine = crate::component::engine::engine().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        assert!(cache.load(&engine, empty()).is_none());
        cache.store(&engine, empty(), &Component::new(&engine, EMPTY).unwrap()).unwrap();
        let entry = dir.path().join("code").join(entry_name(&engine, empty()));
        (dir, engine, entry)
    }

    #[test]
    fn what_was_stored_is_loaded_by_the_next_process() {
        let (dir, engine, _) = stored();
        let again = Cache::open(&dir.path().join("code")).unwrap();
        assert!(again.load(&engine, empty()).is_some());
        let names = fs::read_dir(dir.path().join("code")).unwrap().count();
        assert_eq!(names, 2, "the key and one entry, no unfinished file");
    }

    #[test]
    fn changed_torn_and_foreign_code_is_not_loaded() {
        let (dir, engine, entry) = stored();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        let good = fs::read(&entry).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], &good[..5], b"", &good[MAGIC.len() + MAC_BYTES..]]
        {
            fs::write(&entry, bad).unwrap();
            assert!(cache.load(&engine, empty()).is_none());
        }
        fs::write(&entry, &good).unwrap();
        assert!(cache.load(&engine, empty()).is_some());
        // Code written by another host, with a key of its own.
        fs::remove_file(dir.path().join("code/key")).unwrap();
        assert!(Cache::open(&dir.path().join("code")).unwrap().load(&engine, empty()).is_none());
    }

    #[test]
    fn kept_components_are_found_by_their_digest_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        let bytes = |number: usize| number.to_string().into_bytes();
        let digest = |number| Digest::of(&bytes(number));
        cache.keep(digest(0), || Some(bytes(0))).unwrap();
        assert_eq!(cache.kept(digest(0)), Some(bytes(0)));
        assert_eq!(cache.kept(digest(1)), None);
        for number in 1..=KEPT_MAX + 1 {
            // Number 0 is in use all the time.
            cache.keep(digest(0), || None).unwrap();
            let before =
                std::time::SystemTime::now() - std::time::Duration::from_secs(10_000 - number as u64);
            cache.keep(digest(number), || Some(bytes(number))).unwrap();
            let file = OpenOptions::new().append(true).open(cache.kept_path(digest(number))).unwrap();
            file.set_modified(before).unwrap();
        }
        let there = |number| cache.kept(digest(number)).is_some();
        assert_eq!([there(0), there(1), there(2), there(3)], [true, false, false, true]);
        fs::write(cache.kept_path(digest(3)), "other").unwrap();
        assert!(!there(3), "what was changed is not given out");
    }

    #[test]
    fn a_folder_open_to_others_is_not_used() {
        let (dir, _, _) = stored();
        let code = dir.path().join("code");
        fs::set_permissions(&code, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Cache::open(&code), Err(Error::NotPrivate(_))));
        fs::set_permissions(&code, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(code.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Cache::open(&code), Err(Error::NotPrivate(_))));
    }
}
