//! Names of the files a task writes. Each can be told from the settings, the task and a number alone, so that a task that
//! starts after a kill finds what its predecessor left.
//!
//! For `out/orders.jsonl`: the visible files are `out/orders.jsonl`, with several tasks `out/orders-0.jsonl`, with rotation
//! `out/orders-000001.jsonl`, with both `out/orders-0-000001.jsonl`. Hidden beside them, per task: `.orders.jsonl.0.part`, the
//! file that grows, and `.orders.jsonl.0.state`, what is committed.

use millrace_sdk::{Error, files};

use crate::fail;
use crate::settings::unpacked;

/// Names in one folder.
#[derive(Clone, Debug)]
pub struct Names {
    /// With a slash at its end, or empty.
    folder: String,
    name: String,
    rotates: bool,
    tasks: u32,
}

impl Names {
    /// For this path, with this many tasks.
    pub fn new(path: &str, rotates: bool, tasks: u32) -> Self {
        let (folder, name) = path.rfind('/').map_or(("", path), |at| path.split_at(at + 1));
        Self { folder: folder.to_owned(), name: name.to_owned(), rotates, tasks }
    }

    /// The folder, to open.
    pub fn folder(&self) -> &str {
        if self.folder.is_empty() { "." } else { &self.folder }
    }

    /// The file that a reader sees, by its number from 1.
    pub fn visible(&self, task: u32, number: u64) -> String {
        // `.jsonl.gz` is one extension.
        let plain = unpacked(&self.name).0;
        let (stem, extension) = match plain.rfind('.') {
            Some(at) if at > 0 => self.name.split_at(at),
            _ if plain.len() < self.name.len() && !plain.is_empty() => self.name.split_at(plain.len()),
            _ => (self.name.as_str(), ""),
        };
        let task = if self.tasks > 1 { format!("-{task}") } else { String::new() };
        let number = if self.rotates { format!("-{number:06}") } else { String::new() };
        format!("{}{stem}{task}{number}{extension}", self.folder)
    }

    /// The file that grows.
    pub fn part(&self, task: u32) -> String {
        format!("{}.{}.{task}.part", self.folder, self.name)
    }

    /// What is committed.
    pub fn state(&self, task: u32) -> String {
        format!("{}.{}.{task}.state", self.folder, self.name)
    }

    /// Tasks that have left a state, in order; also such as there are no more, since a run with more tasks.
    pub fn tasks_with_state(&self) -> Result<Vec<u32>, Error> {
        let folder = self.folder();
        let (prefix, mut tasks): (String, Vec<u32>) = (format!(".{}.", self.name), Vec::new());
        for name in files::names(folder).map_err(|error| fail("list", folder, error))? {
            let task = name
                .to_str()
                .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".state")?.parse::<u32>().ok());
            tasks.extend(task);
        }
        tasks.sort_unstable();
        Ok(tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names() {
        let visible = |path, rotates, tasks| Names::new(path, rotates, tasks).visible(0, 7);
        assert_eq!(visible("out/orders.jsonl", false, 1), "out/orders.jsonl");
        assert_eq!(visible("out/orders.jsonl", true, 1), "out/orders-000007.jsonl");
        assert_eq!(visible("/orders.v1.jsonl", true, 2), "/orders.v1-0-000007.jsonl");
        assert_eq!(visible(".orders", false, 2), ".orders-0");
        assert_eq!(visible("out/orders.jsonl.gz", true, 1), "out/orders-000007.jsonl.gz");
        assert_eq!(visible("orders.csv.zst", true, 1), "orders-000007.csv.zst");
        assert_eq!(visible("orders.gz", true, 1), "orders-000007.gz");
        let names = Names::new("orders", false, 1);
        assert_eq!((names.folder(), names.part(3).as_str()), (".", ".orders.3.part"));
    }
}
