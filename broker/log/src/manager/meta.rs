//! `meta.properties`: which cluster, node and directory this is, so that no broker writes into another's data.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::ManagerOptions;
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::partition_metadata::{from_base64, to_base64};

const FILE_NAME: &str = "meta.properties";
const FILE_BYTES_MAX: usize = 64 << 10;
const VERSION: &str = "1";

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`, usually a UUID in Kafka's base64.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id` (KIP-858).
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file, or writes a new one; refuses a directory of another cluster or node.
    pub(super) fn load(disk: &dyn Disk, data_dir: &Path, options: &ManagerOptions) -> Result<Self, Error> {
        let path = data_dir.join(FILE_NAME);
        let bytes = match disk.read_file(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let meta = Self::fresh(options);
                disk.write_atomically(&path, meta.text().as_bytes()).map_err(io_error("write", &path))?;
                return Ok(meta);
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let known = Self::parse(&String::from_utf8_lossy(&bytes), options)
            .map_err(|reason| Error::Malformed { path: path.clone(), reason })?;
        let wrong = |reason| Err(Error::WrongDirectory { path: path.clone(), reason });
        if known.node_id != options.node_id {
            let (theirs, ours) = (known.node_id, options.node_id);
            return wrong(format!(
                "the directory is node {theirs}'s and node.id is {ours}; use the right directory"
            ));
        }
        match &options.cluster_id {
            Some(ours) if *ours != known.cluster_id => wrong(format!(
                "the directory belongs to cluster {}, not to {ours}; use the right directory or an empty one",
                known.cluster_id
            )),
            _ => Ok(known),
        }
    }

    fn fresh(options: &ManagerOptions) -> Self {
        let [cluster, directory] = options.new_ids;
        let cluster_id = options.cluster_id.clone().unwrap_or_else(|| to_base64(cluster));
        Self { cluster_id, node_id: options.node_id, directory_id: directory }
    }

    fn text(&self) -> String {
        let (cluster, node, directory) = (&self.cluster_id, self.node_id, to_base64(self.directory_id));
        format!("#\ncluster.id={cluster}\ndirectory.id={directory}\nnode.id={node}\nversion={VERSION}\n")
    }

    /// A directory id may be missing (Kafka before 3.7): a new one is used for this run.
    fn parse(text: &str, options: &ManagerOptions) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let values: BTreeMap<_, _> =
            lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
        let get = |key: &str| values.get(key).copied().ok_or_else(|| format!("{key} is missing"));
        if get("version")? != VERSION {
            return Err(format!("version is not {VERSION}"));
        }
        let node_id = get("node.id")?.parse().map_err(|_| "node.id is not a number".to_owned())?;
        let directory_id = match values.get("directory.id") {
            Some(id) => from_base64(id).ok_or("directory.id is not an id")?,
            None => options.new_ids[1],
        };
        Ok(Self { cluster_id: get("cluster.id")?.to_owned(), node_id, directory_id })
    }
}
