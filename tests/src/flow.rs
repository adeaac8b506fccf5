//! Pipelines whose lines are numbered: files that grow, go through a source, a topic and a sink, each with a transform, and must come
//! out again once each and in order.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Keys of the lines; a key keeps its order.
const KEYS: u64 = 7;
/// Lines that are there from the beginning. Not none: a file that is empty when file-source opens it has been seen to be read twice,
/// some two seconds after its first lines came, which is a matter of that connector and not of what is tested here.
const FIRST_LINES: u64 = 100;
/// Tasks of each sink.
pub const SINK_TASKS: u32 = 2;

/// Some pipelines of the same kind.
#[derive(Debug)]
pub struct Flow {
    folder: PathBuf,
    pipes: BTreeMap<&'static str, Pipe>,
}

#[derive(Debug)]
struct Pipe {
    source: File,
    total: u64,
}

impl Flow {
    /// Makes the files of the pipelines below `folder`.
    pub fn new(folder: &Path, names: &[&'static str]) -> Flow {
        let pipe = |name: &&'static str| {
            let path = folder.join(format!("{name}.jsonl"));
            let source = OpenOptions::new().create(true).append(true).open(path);
            (*name, Pipe { source: source.expect("the temporary folder can be written"), total: 0 })
        };
        let mut flow = Flow { folder: folder.to_path_buf(), pipes: names.iter().map(pipe).collect() };
        fs::write(flow.file(), yaml(names)).expect("the temporary folder can be written");
        flow.grow(FIRST_LINES);
        flow
    }

    /// The pipeline file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("flow.yaml")
    }

    /// All tasks, as `connector-0`.
    pub fn tasks(&self) -> Vec<String> {
        let of = |name: &&str| {
            let sinks = (0..SINK_TASKS).map(|task| format!("{name}.out-{task}")).collect::<Vec<_>>();
            std::iter::once(format!("{name}.source-0")).chain(sinks).collect::<Vec<_>>()
        };
        self.pipes.keys().flat_map(of).collect()
    }

    /// Adds lines to each source file.
    pub fn grow(&mut self, lines: u64) {
        for pipe in self.pipes.values_mut() {
            let numbers = pipe.total..pipe.total + lines;
            let line = |n: u64| format!("{{\"n\":{n},\"key\":\"k{}\",\"secret\":\"s{n}\"}}\n", n % KEYS);
            let text: String = numbers.map(line).collect();
            pipe.source.write_all(text.as_bytes()).expect("the source file can be written");
            pipe.total += lines;
        }
    }

    /// Lines that went in, over all pipelines.
    pub fn total(&self) -> u64 {
        self.pipes.values().map(|pipe| pipe.total).sum()
    }

    /// Lines that a reader of the target folders sees.
    pub fn arrived(&self) -> u64 {
        self.pipes.keys().map(|name| self.lines(name).len() as u64).sum()
    }

    /// Fails unless every line came out once and each key is in order.
    pub fn check(&self) {
        for (name, pipe) in &self.pipes {
            let lines = self.lines(name);
            let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for line in &lines {
                assert_eq!(line["secret"], "****", "{name}: the source's transform was passed over: {line}");
                let number = line["number"].as_u64().unwrap_or_else(|| panic!("{name}: no number in {line}"));
                by_key.entry(line["key"].as_str().unwrap_or_default().to_owned()).or_default().push(number);
            }
            for (key, numbers) in &by_key {
                let disorder = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
                assert!(disorder.is_none(), "{name}, lines of {key}: out of order or twice: {disorder:?}");
            }
            let mut numbers: Vec<u64> = by_key.into_values().flatten().collect();
            numbers.sort_unstable();
            let expected: Vec<u64> = (0..pipe.total).collect();
            assert!(numbers == expected, "{name}: {} lines came out, {} went in", numbers.len(), pipe.total);
        }
    }

    /// The fence of each sink task, as its target holds it: another one with every start.
    pub fn fences(&self) -> BTreeMap<String, u64> {
        let mut fences = BTreeMap::new();
        for name in self.pipes.keys() {
            for task in 0..SINK_TASKS {
                let path = self.folder.join(format!("out/.{name}.jsonl.{task}.state"));
                let state = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
                let fence = state.and_then(|state| state["generation"].as_u64());
                fences.extend(fence.map(|fence| (format!("{name}.out-{task}"), fence)));
            }
        }
        fences
    }

    /// The lines of a pipeline's finished files, by task and number of the file.
    fn lines(&self, name: &str) -> Vec<Value> {
        let prefix = format!("{name}-");
        let names = fs::read_dir(self.folder.join("out")).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect();
        paths.sort_unstable();
        let text = |path: PathBuf| fs::read_to_string(path).expect("a finished file can be read");
        let lines = paths.into_iter().map(text).collect::<String>();
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("torn line {line:?}: {error}"))
        };
        lines.lines().map(line).collect()
    }
}

fn yaml(names: &[&str]) -> String {
    let pipeline = |name: &&str| {
        format!(
            "  {name}:
    source: {{ connector: file-source, path: ./{name}.jsonl, format: jsonl, follow: true, poll_every: 50ms, key: key }}
    transforms:
      - {{ connector: mask, fields: [secret] }}
    topic: {{ name: {name}, partitions: 4 }}
    sinks:
      out:
        connector: file-sink
        path: ./out/{name}.jsonl
        format: jsonl
        tasks: {SINK_TASKS}
        flush_interval: 200ms
        rotate: {{ every: 1s }}
        transforms:
          - {{ connector: rename, fields: {{ n: number }} }}
"
        )
    };
    format!("version: 1\npipelines:\n{}", names.iter().map(pipeline).collect::<String>())
}
