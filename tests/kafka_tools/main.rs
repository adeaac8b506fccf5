//! Apache Kafka's command-line tools against `millrace broker`, as an operator uses them.
//!
//! `tests/clients` has the console clients and `kafka-dump-log`; here are the others. Each run of a tool is a JVM of
//! its own, so a test asks for all that belongs together.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_tests::process::Process;
use millrace_tests::{Broker, tools};
use tempfile::TempDir;

/// Longest run of one tool, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A broker, and tools that are pointed at it.
struct Desk {
    broker: Broker,
    folder: TempDir,
    runs: AtomicU32,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broker = Broker::start(folder.path(), &["group.initial.rebalance.delay.ms=0"]);
        Desk { broker, folder, runs: AtomicU32::new(0) }
    }

    /// Starts a tool; its name and its arguments stand in one line.
    fn start(&self, line: &str) -> Process {
        let mut words = line.split_whitespace();
        let mut tool = tools::kafka(words.next().expect("a tool's name"));
        // `transactions` wants it in front of its command, `cluster` and others behind theirs: it can stand in the line.
        if line.contains("--bootstrap-server") {
            tool.args(
                words.map(|word| if word == "HERE" { self.broker.bootstrap() } else { word.to_owned() }),
            );
        } else {
            tool.args(["--bootstrap-server", &self.broker.bootstrap()]).args(words);
        }
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Process::spawn(&mut tool, self.folder.path().join(format!("run-{run}.txt")))
    }

    /// Runs a tool to its good end, and gives back what it said.
    fn run(&self, line: &str) -> String {
        self.start(line).succeed(LIMIT)
    }

    /// The same, and what it said must contain each of these.
    fn says(&self, line: &str, expected: &[&str]) {
        let said = self.run(line);
        for part in expected {
            assert!(said.contains(part), "{line}: no {part:?} in\n{said}");
        }
    }

    /// The same for a tool that is refused.
    fn refuses(&self, line: &str, expected: &str) {
        let mut process = self.start(line);
        process.wait(LIMIT);
        let said = process.output();
        assert!(said.contains(expected), "{line}: no {expected:?} in\n{said}");
    }

    /// A file with this content.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("the temporary folder can be written");
        path
    }
}

#[test]
fn topics_settings_records_and_directories() {
    let desk = Desk::new();
    desk.says("topics --create --topic t --partitions 2", &["Created topic t."]);
    desk.says(
        "producer-perf-test --topic t --num-records 2000 --record-size 100 --throughput -1",
        &["2000 records sent"],
    );
    desk.says("get-offsets --topic t --time latest", &["t:0:", "t:1:"]);
    desk.says("get-offsets --topic t --time earliest", &["t:0:0", "t:1:0"]);
    let cut = r#"{"partitions":[{"topic":"t","partition":0,"offset":100}],"version":1}"#;
    let cut = desk.file("cut.json", cut);
    desk.says(
        &format!("delete-records --offset-json-file {}", cut.display()),
        &["partition: t-0\tlow_watermark: 100"],
    );
    desk.says("get-offsets --topic t --time earliest", &["t:0:100", "t:1:0"]);
    let topic = "configs --entity-type topics --entity-name t";
    desk.says(
        &format!("{topic} --alter --add-config retention.ms=7200000,max.message.bytes=2000000"),
        &["Completed"],
    );
    desk.says(
        &format!("{topic} --describe"),
        &["retention.ms=7200000", "DYNAMIC_TOPIC_CONFIG", "max.message.bytes=2000000"],
    );
    desk.says(&format!("{topic} --alter --delete-config retention.ms"), &["Completed"]);
    let described = desk.run(&format!("{topic} --describe"));
    assert!(!described.contains("retention.ms=7200000"), "{described}");
    desk.says(
        "configs --describe --entity-type brokers --entity-name 1 --all",
        &["message.max.bytes=1048588"],
    );
    let directory = desk.broker.data_dir().display().to_string();
    desk.says("log-dirs --describe --topic-list t", &[&directory, "\"partition\":\"t-0\""]);
}

#[test]
fn groups_and_perf_tools() {
    let desk = Desk::new();
    desk.says("verifiable-producer --topic t --max-messages 500", &["\"acked\":500"]);
    let read = "verifiable-consumer --topic t --group-id verified --max-messages 500 --reset-policy earliest";
    desk.says(read, &["\"name\":\"records_consumed\"", "\"success\":true"]);
    desk.says("consumer-perf-test --topic t --num-records 500 --group perf", &[", 500, "]);
    desk.says("groups --list", &["perf", "verified"]);
    let group = "consumer-groups --group perf";
    desk.says(&format!("{group} --describe"), &["perf", "500             500             0"]);
    desk.says(&format!("{group} --describe --state"), &["Empty"]);
    desk.says(&format!("{group} --describe --members"), &["no active members"]);
    desk.says(&format!("{group} --topic t --reset-offsets --to-offset 20 --execute"), &["20"]);
    desk.says(&format!("{group} --describe"), &["20              500             480"]);
    desk.says(&format!("{group} --delete-offsets --topic t"), &["Successful"]);
    desk.says("consumer-groups --delete --group verified", &["was successful"]);
    let listed = desk.run("consumer-groups --list");
    assert!(!listed.contains("verified"), "{listed}");
    let settings = "configs --entity-type groups";
    let change = |value: &str| {
        format!("{settings} --entity-name perf --alter --add-config consumer.session.timeout.ms={value}")
    };
    desk.says(&change("50000"), &["Completed"]);
    desk.refuses(&change("1"), "InvalidConfigurationException");
    desk.says(
        &format!("{settings} --describe"),
        &["group perf", "consumer.session.timeout.ms=50000", "DYNAMIC_GROUP_CONFIG"],
    );
    desk.says(
        "e2e-latency --topic t --num-records 50 --producer-acks 1 --record-size 100",
        &["Avg latency:"],
    );
}

#[test]
fn the_cluster_and_what_one_node_has_not() {
    let desk = Desk::new();
    desk.run("topics --create --topic t --partitions 1");
    desk.says("features --bootstrap-server HERE describe", &["metadata.version", "FinalizedVersionLevel"]);
    desk.says(
        "metadata-quorum --bootstrap-server HERE describe --status",
        &["LeaderId:               1", "\"id\": 1"],
    );
    desk.says("metadata-quorum --bootstrap-server HERE describe --replication", &["Leader"]);
    desk.says("broker-api-versions", &["Produce(0): 0 to 13", "ApiVersions(18): 0 to 4"]);
    desk.says("cluster cluster-id --bootstrap-server HERE", &["Cluster ID: "]);
    desk.says("cluster list-endpoints --bootstrap-server HERE", &["unfenced"]);
    let elect = "leader-election --election-type PREFERRED";
    desk.says(
        &format!("{elect} --topic t --partition 0"),
        &["Valid replica already elected for partitions t-0"],
    );
    desk.run(&format!("{elect} --all-topic-partitions"));
    desk.says("reassign-partitions --list", &["No partition reassignments found."]);
    let same =
        r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["any"]}]}"#;
    let same = desk.file("same.json", same);
    let execute = format!("reassign-partitions --reassignment-json-file {} --execute", same.display());
    desk.says(&execute, &["Successfully started partition reassignment for t-0"]);
    desk.says("transactions --bootstrap-server HERE list", &["TransactionalId"]);
    desk.says(
        "transactions --bootstrap-server HERE describe-producers --topic t --partition 0",
        &["ProducerId"],
    );
    desk.says("transactions --bootstrap-server HERE find-hanging --topic t", &["StartOffset"]);
    desk.refuses("acls --list", "SecurityDisabledException");
    desk.refuses("client-metrics --bootstrap-server HERE --list", "");
}
