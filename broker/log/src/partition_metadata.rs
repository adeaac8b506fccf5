//! `partition.metadata`: the topic id of a partition's folder, so that a topic deleted and created again under the same
//! name is not taken for the old one.
//!
//! ```text
//! version: 0
//! topic_id: 4xYUE8FSRhmbpNGC1gZGcw        a UUID in URL-safe base64
//! ```

use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::disk::Disk;
use crate::error::{Error, io_error};

/// The file's name within a partition's folder.
pub(crate) const FILE_NAME: &str = "partition.metadata";
const FILE_BYTES_MAX: usize = 4096;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A UUID as Apache Kafka writes it: 22 characters of URL-safe base64 without padding.
pub fn to_base64(id: Uuid) -> String {
    let bits = id.as_u128();
    // 128 bits are 21 groups of six and two bits, which are padded with zeros on the right.
    let group = |nth: u32| if nth < 21 { (bits >> (122 - 6 * nth)) & 63 } else { (bits & 3) << 4 };
    (0..22).map(|nth| char::from(ALPHABET[group(nth) as usize])).collect()
}

/// The UUID that [`to_base64`] wrote; `None` for anything else.
pub fn from_base64(text: &str) -> Option<Uuid> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (nth, byte) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)? as u128;
        bits = if nth < 21 { (bits << 6) | value } else { (bits << 2) | (value >> 4) };
    }
    let id = Uuid::from_u128(bits);
    (to_base64(id) == text).then_some(id)
}

/// Writes the file into a new partition's folder. Nothing is synced: see `Log::sync`.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<(), Error> {
    let path = dir.join(FILE_NAME);
    let text = format!("version: 0\ntopic_id: {}\n", to_base64(topic_id));
    let file = disk.open(&path, crate::disk::OpenMode::Truncate).map_err(io_error("create", &path))?;
    file.write_all_at(&[io::IoSlice::new(text.as_bytes())], 0).map_err(io_error("write", &path))
}

/// Reads the file. `None` if there is none, or one that a power cut left unfinished.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, Error> {
    let path = dir.join(FILE_NAME);
    let bytes = match disk.read_file(&path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
    Ok(id.and_then(|id| from_base64(id.trim())).filter(|_| text.starts_with("version: 0\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn ids_look_as_in_apache_kafka() {
        // The id of __cluster_metadata, and Uuid.ZERO_UUID, as Kafka's Uuid.toString prints them.
        assert_eq!(to_base64(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(to_base64(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(to_base64(Uuid::max()), "_____________________w");
        for id in [Uuid::from_u128(1), Uuid::max(), Uuid::from_u128(0x1234_5678_9abc_def0_0fed_cba9)] {
            assert_eq!(from_base64(&to_base64(id)), Some(id));
        }
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAA+AAAAAAAAAA"] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }

    #[test]
    fn the_file_round_trips_and_a_torn_one_is_none() {
        let disk = SimDisk::new();
        let dir = Path::new("");
        assert_eq!(read(&disk, dir).unwrap(), None);
        write(&disk, dir, Uuid::from_u128(7)).unwrap();
        assert_eq!(read(&disk, dir).unwrap(), Some(Uuid::from_u128(7)));
        disk.corrupt(Path::new(FILE_NAME), |bytes| bytes.truncate(20));
        assert_eq!(read(&disk, dir).unwrap(), None);
    }
}
