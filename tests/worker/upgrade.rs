//! Other components under connectors that run: taken for good when they work, left again by themselves when they don't, and each
//! record arrives once either way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace_client::{Producer, ProducerConfig};
use millrace_connect_runtime::component::Digest;
use millrace_connect_runtime::herder::handle::{ConnectorView, HerderHandle};
use millrace_connect_runtime::herder::ownership::Alone;
use millrace_connect_runtime::herder::record::{RunState, TargetState};
use millrace_connect_runtime::herder::request::Request;
use millrace_connect_runtime::herder::service::{HerderConfig, HerderService};
use millrace_connect_runtime::worker::WorkerConfig;
use millrace_test_components::{hostile_source_build, rebuilt};

use crate::lifecycle::{Config, LIMIT, config, make, position, wait_for, wait_for_position};
use crate::setup::Cluster;

/// More numbers than are counted to while a test runs.
const ENDLESS: &str = "1000000000";
/// How long new components have to run here. One that fails does so in its first calls.
const PROBATION: Duration = Duration::from_secs(3);

/// A worker, and a component's file.
struct World {
    cluster: Cluster,
    service: HerderService,
    dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let service = herder(&cluster).await;
        Self { cluster, service, dir: tempfile::tempdir().unwrap() }
    }

    fn handle(&self) -> HerderHandle {
        self.service.handle()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("counter.wasm")
    }

    /// Puts a build of the counting source into the file.
    fn install(&self, version: &str, manner: &str) {
        replace(&self.file(), &hostile_source_build(version, manner));
    }

    fn counting(&self) -> Config {
        let file = self.file().to_string_lossy().into_owned();
        config(&[("connector.class", &file), ("do", "count"), ("records", ENDLESS), ("topic", "numbers")])
    }

    /// Puts a configuration, as `apply` and the REST API do.
    async fn put(&self, name: &str, config: Config) {
        let put = |_: Option<&Config>| Ok(Request::Put { name: name.to_owned(), config: config.clone() });
        self.handle().configure(name, put).await.unwrap();
    }

    /// Waits until more numbers have been written.
    async fn wait_for_more(&self) {
        let before = position(&self.handle(), "c").await;
        wait_for_position(&self.handle(), "c", before + 1).await;
    }

    /// Stops the source, and fails unless each number is there once.
    async fn check(&self) {
        let stop = Request::Target("c".to_owned(), TargetState::Stopped);
        self.handle().request(stop).await.unwrap();
        wait_for(&self.handle(), "c", &[RunState::Stopped]).await;
        let numbers = self.cluster.numbers("numbers").await;
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "each number once");
    }
}

async fn herder(cluster: &Cluster) -> HerderService {
    let worker = WorkerConfig { offsets_partitions: 3, ..WorkerConfig::default() };
    let config = HerderConfig { worker, upgrade_probation: PROBATION, ..HerderConfig::new("w:8083") };
    let (client, host) = (cluster.client().clone(), cluster.host().clone());
    let service = HerderService::start(config, host, client, Box::new(Alone)).await.unwrap();
    tokio::time::timeout(LIMIT, service.handle().ready()).await.expect("the topics are read");
    service
}

/// As tools that install files do: nobody sees half of it.
fn replace(path: &Path, wasm: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, wasm).unwrap();
    std::fs::rename(new, path).unwrap();
}

async fn wait_until(handle: &HerderHandle, name: &str, is: impl Fn(&ConnectorView) -> bool) -> ConnectorView {
    let started = Instant::now();
    loop {
        let view = handle.connector(name).unwrap();
        if is(&view) {
            return view;
        }
        assert!(started.elapsed() < LIMIT, "{view:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn version(view: &ConnectorView) -> &str {
    view.wanted.builds().and_then(|builds| builds.values().next()).map_or("", |build| &build.version)
}

fn runs(view: &ConnectorView) -> bool {
    let all = std::iter::once(&view.status).chain(&view.tasks);
    !view.wanted.is_unplanned()
        && all
            .into_iter()
            .all(|status| status.as_ref().is_some_and(|status| status.state == RunState::Running))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_is_taken_with_the_next_configuration_and_no_earlier() {
    let mut world = World::start().await;
    world.install("1.0.0", "well");
    make(&world.handle(), "c", world.counting()).await;
    let first = wait_until(&world.handle(), "c", runs).await;
    assert_eq!((version(&first), first.wanted.probation().is_some()), ("1.0.0", false));
    world.wait_for_more().await;

    // Neither a restart nor another worker takes it: what runs is what was chosen.
    world.install("2.0.0", "well");
    let seen = world.handle().replaced(&first.wanted).await;
    assert_eq!(seen.values().map(|build| build.version.as_str()).collect::<Vec<_>>(), ["2.0.0"]);
    world.service.stop().await;
    world.service = herder(&world.cluster).await;
    let same = wait_until(&world.handle(), "c", runs).await;
    assert_eq!(version(&same), "1.0.0");
    world.wait_for_more().await;

    world.put("c", world.counting()).await;
    let new = wait_until(&world.handle(), "c", |view| version(view) == "2.0.0" && runs(view)).await;
    let build = new.wanted.builds().unwrap().values().next().unwrap();
    assert_eq!(build.digest, Digest::of(&hostile_source_build("2.0.0", "well")));
    assert!(new.wanted.probation().is_some(), "{new:?}");
    let done = wait_until(&world.handle(), "c", |view| view.wanted.probation().is_none()).await;
    assert_eq!((version(&done), done.wanted.rolled_back()), ("2.0.0", None));
    world.wait_for_more().await;
    world.check().await;
    // Whoever handed in the verdict had taken the connector's id for it: another one would have come before it, or after it.
    let transactional_id = Some("connect-cluster-c-verdict".to_owned());
    let config = ProducerConfig { transactional_id, ..ProducerConfig::default() };
    let producer = Producer::start(world.cluster.client(), config).await.unwrap();
    let (_, epoch) = producer.init_transactions().await.unwrap();
    assert!(epoch.0 > 0, "{epoch:?}: nobody has taken it before");
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_left_again_and_nothing_is_lost_or_doubled() {
    let world = World::start().await;
    world.install("1.0.0", "well");
    make(&world.handle(), "c", world.counting()).await;
    world.wait_for_more().await;
    let failures = [
        ("2.0.0", "closed", "open: this build opens nothing"),
        ("3.0.0", "third", "this build ends in its third poll"),
        ("4.0.0", "planless", "this build makes no plans"),
    ];
    for (bad, manner, reason) in failures {
        world.install(bad, manner);
        let mut changed = world.counting();
        changed.insert("topic.creation.default.retention.ms".to_owned(), "86400000".to_owned());
        world.put("c", changed).await;
        let is_back = |view: &ConnectorView| view.wanted.rolled_back().is_some() && runs(view);
        let back = wait_until(&world.handle(), "c", is_back).await;
        let why = back.wanted.rolled_back().unwrap();
        assert!(why.reason.contains(reason), "{why:?}");
        let left = why.failed.values().next().map(|build| build.version.as_str());
        assert_eq!((version(&back), left), ("1.0.0", Some(bad)));
        assert!(
            !back.wanted.config.contains_key("topic.creation.default.retention.ms"),
            "as it was: {back:?}"
        );
        world.wait_for_more().await;
    }
    // A good one goes from there.
    world.install("5.0.0", "well");
    world.put("c", world.counting()).await;
    let done = |view: &ConnectorView| version(view) == "5.0.0" && view.wanted.probation().is_none();
    let done = wait_until(&world.handle(), "c", done).await;
    assert_eq!(done.wanted.rolled_back(), None);
    world.wait_for_more().await;
    world.check().await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_component_that_it_runs_a_connector_says_so_and_takes_the_new_one_when_told() {
    let mut world = World::start().await;
    world.install("1.0.0", "well");
    make(&world.handle(), "c", world.counting()).await;
    world.wait_for_more().await;
    world.install("2.0.0", "well");
    world.service.stop().await;
    // Another machine: its cache has nothing.
    world.cluster = world.cluster.with_own_cache(&world.dir.path().join("other"));
    world.service = herder(&world.cluster).await;
    let failed = |view: &ConnectorView| {
        view.tasks.iter().flatten().any(|task| {
            task.trace.as_ref().is_some_and(|trace| trace.contains("neither in the file any more"))
        })
    };
    wait_until(&world.handle(), "c", failed).await;
    world.put("c", world.counting()).await;
    wait_until(&world.handle(), "c", |view| version(view) == "2.0.0" && runs(view)).await;
    world.wait_for_more().await;
    world.check().await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_and_sink_change_their_components_again_and_again_under_load() {
    const LINES: u64 = 400;
    const UPGRADES: u8 = 6;
    let world = World::start().await;
    let folder = world.dir.path();
    let bundled = |name: &str| {
        let found = millrace_connectors::bundled().iter().find(|connector| connector.name == name);
        found.unwrap().wasm
    };
    let install = |name: &str, build: u8| {
        replace(&folder.join(format!("{name}.wasm")), &rebuilt(bundled(name), build));
    };
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    install("file-source", 0);
    install("file-sink", 0);
    let (lines, out) = (folder.join("in.txt"), folder.join("out"));
    std::fs::create_dir(&out).unwrap();
    let grow = |from: u64| {
        use std::io::Write;
        let mut file = std::fs::File::options().create(true).append(true).open(&lines).unwrap();
        let text: String = (from..from + LINES).map(|number| format!("{number:06}\n")).collect();
        file.write_all(text.as_bytes()).unwrap();
    };
    let source = config(&[
        ("connector.class", &path("file-source.wasm")),
        ("topic", "lines"),
        ("path", &path("in.txt")),
        ("format", "lines"),
        ("follow", "true"),
        ("poll_every", "20ms"),
    ]);
    let sink = config(&[
        ("connector.class", &path("file-sink.wasm")),
        ("topics", "lines"),
        ("path", &path("out/out.txt")),
        ("format", "lines"),
        ("rotate.every", "100ms"),
        ("offset.flush.interval.ms", "50"),
    ]);
    grow(0);
    make(&world.handle(), "from", source.clone()).await;
    make(&world.handle(), "to", sink.clone()).await;
    for build in 1..=UPGRADES {
        install("file-source", build);
        install("file-sink", build);
        world.put("from", source.clone()).await;
        grow(u64::from(build) * LINES);
        world.put("to", sink.clone()).await;
        for name in ["from", "to"] {
            let file = if name == "from" { "file-source" } else { "file-sink" };
            let wanted = Digest::of(&rebuilt(bundled(file), build));
            let is_new = |view: &ConnectorView| {
                let mut builds = view.wanted.builds().into_iter().flatten();
                runs(view) && builds.any(|(_, build)| build.digest == wanted)
            };
            wait_until(&world.handle(), name, is_new).await;
        }
    }
    let total = (u64::from(UPGRADES) + 1) * LINES;
    let written = || {
        let mut numbers: Vec<u64> = Vec::new();
        for entry in std::fs::read_dir(&out).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
                let text = std::fs::read_to_string(path).unwrap();
                numbers.extend(text.lines().map(|line| line.parse::<u64>().unwrap()));
            }
        }
        numbers.sort_unstable();
        numbers
    };
    let started = Instant::now();
    while (written().len() as u64) < total {
        assert!(started.elapsed() < LIMIT, "{} of {total}", written().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(written(), (0..total).collect::<Vec<_>>(), "each line once");
    for name in ["from", "to"] {
        wait_until(&world.handle(), name, |view| view.wanted.probation().is_none()).await;
        assert_eq!(world.handle().connector(name).unwrap().wanted.rolled_back(), None);
    }
    world.service.stop().await;
}

/// As when a worker that had stood still goes on with a fencing that is not its business any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_fenced_by_somebody_late_goes_on() {
    let world = World::start().await;
    world.install("1.0.0", "well");
    world.put("c", world.counting()).await;
    world.wait_for_more().await;
    for _ in 0..2 {
        let transactional_id = Some(format!("{}-c-0", WorkerConfig::default().group));
        let config = ProducerConfig { transactional_id, ..ProducerConfig::default() };
        drop(Producer::start(world.cluster.client(), config).await.unwrap());
        // Nothing more is written by the one that was fenced.
        world.wait_for_more().await;
    }
    world.check().await;
}
