//! What is in a topic, read by a client that is not ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::process::Process;
use crate::tools;

const READ_LIMIT: Duration = Duration::from_secs(120);

/// Records of a topic by partition, each as offset and value, in the order in which they were read; committed ones only.
pub fn read(bootstrap: &str, topic: &str, folder: &Path) -> BTreeMap<u32, Vec<(u64, String)>> {
    let mut program = tools::franz_go();
    program.args(["read", "--bootstrap", bootstrap, "--topic", topic]);
    let output = folder.join(format!("read-{topic}.txt"));
    // What an earlier call has read.
    let _ = std::fs::remove_file(&output);
    let said = Process::spawn(&mut program, output).succeed(READ_LIMIT);
    let mut records: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
    for line in said.lines() {
        let mut words = line.splitn(4, ' ');
        if words.next() == Some("record") {
            let mut number = || {
                words.next().and_then(|word| word.parse::<u64>().ok()).expect("record PARTITION OFFSET VALUE")
            };
            let (partition, offset) = (number(), number());
            let value = words.next().unwrap_or_default().to_owned();
            records.entry(partition as u32).or_default().push((offset, value));
        }
    }
    records
}
