//! Several `millrace connect` processes share the tasks: what moves when one goes, stands still or comes, how long it takes, and that
//! every line arrives once all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use millrace_tests::process::wait_until;
use millrace_tests::{Broker, Flow, Worker};
use serde_json::json;

/// Longest wait for the group to settle, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// `session.timeout.ms` by default.
const SESSION: Duration = Duration::from_secs(6);
/// A move takes the session and a little; past this it would not be called seconds, on however busy a machine.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(30);
/// Tasks of the three pipelines.
const TASKS: usize = 9;

/// Who runs each task, once all run, evenly, on these workers alone.
fn settled(asked: &Worker, live: &[&Worker], tasks: &[String]) -> BTreeMap<String, String> {
    let live: BTreeSet<&str> = live.iter().map(|worker| worker.address()).collect();
    let mut last = BTreeMap::new();
    let started = Instant::now();
    loop {
        let placement = asked.placement();
        let owners: BTreeMap<String, String> =
            placement.into_iter().filter(|(what, _)| tasks.contains(what)).collect();
        let mut sizes: BTreeMap<&str, usize> = live.iter().map(|address| (*address, 0)).collect();
        owners.values().for_each(|owner| *sizes.entry(owner).or_default() += 1);
        let even = sizes.values().max().unwrap_or(&0) - sizes.values().min().unwrap_or(&0) <= 1;
        // Twice the same: nothing is under way.
        if owners.len() == tasks.len() && sizes.len() == live.len() && even && owners == last {
            return owners;
        }
        assert!(started.elapsed() < LIMIT, "not settled on {live:?}: {owners:?}\n{}", asked.log());
        last = owners;
        thread::sleep(Duration::from_millis(100));
    }
}

/// Tasks that have another owner now.
fn moved(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    after
        .iter()
        .filter(|(task, owner)| before.get(*task) != Some(owner))
        .map(|(task, _)| task.clone())
        .collect()
}

/// Tasks of one worker.
fn of(owners: &BTreeMap<String, String>, worker: &Worker) -> BTreeSet<String> {
    owners.iter().filter(|(_, owner)| *owner == worker.address()).map(|(task, _)| task.clone()).collect()
}

/// Sink tasks that were started anew.
fn restarted(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeSet<String> {
    after
        .iter()
        .filter(|(task, fence)| before.get(*task) != Some(fence))
        .map(|(task, _)| task.clone())
        .collect()
}

/// Everything that went in has come out.
fn wait_for_all(flow: &mut Flow) {
    flow.grow(50);
    wait_until("all lines to arrive", LIMIT, || flow.arrived() >= flow.total());
    flow.check();
}

#[test]
fn only_what_has_to_moves_when_a_worker_goes_stands_still_or_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let broker = Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]);
    let mut flow = Flow::new(folder, &["ants", "bees", "cats"]);
    let tasks = flow.tasks();
    assert_eq!(tasks.len(), TASKS);
    let start = |name: &str| {
        let mut worker = Worker::start(folder, name, &broker.bootstrap(), &[]);
        worker.wait_until_ready();
        worker
    };
    let (mut one, two, three) = (start("one"), start("two"), start("three"));
    two.apply(&flow.file());
    let before = settled(&two, &[&one, &two, &three], &tasks);
    wait_for_all(&mut flow);

    // Killed: its tasks move within seconds, and nothing else is touched.
    let (had, fences) = (of(&before, &one), flow.fences());
    let killed = Instant::now();
    one.kill();
    // A write while the group waits for the lost worker is accepted, wherever it arrives.
    let extra = json!({
        "connector.class": "file-sink", "topics": "ants", "path": folder.join("out/extra.jsonl"),
        "format": "jsonl", "rotate.every": "200ms", "offset.flush.interval.ms": "100",
    });
    let (status, body) = three.ask("PUT", "/connectors/extra.out/config", Some(&extra)).expect("an answer");
    assert_eq!(status, 201, "{body}");
    wait_until("the killed worker's tasks to move", LIMIT, || {
        let placement = two.placement();
        had.iter().all(|task| placement.get(task).is_some_and(|owner| owner != one.address()))
    });
    let takeover = killed.elapsed();
    println!("{} tasks of a killed worker ran again after {takeover:.1?}", had.len());
    assert!(takeover < TAKEOVER_LIMIT, "{takeover:?}");
    wait_until("the connector that was made meanwhile to run", LIMIT, || {
        three.placement().contains_key("extra.out-0")
    });
    let after = two.placement().into_iter().filter(|(what, _)| tasks.contains(what)).collect();
    assert_eq!(moved(&before, &after), had);
    let sinks: BTreeSet<String> = had.iter().filter(|task| task.contains(".out-")).cloned().collect();
    wait_for_all(&mut flow);
    assert_eq!(restarted(&fences, &flow.fences()), sinks);
    let (status, _) = two.ask("DELETE", "/connectors/extra.out", None).expect("an answer");
    assert_eq!(status, 204);

    // Stands still for longer than its session: it is fenced, ends what it had, and comes back.
    one.restart();
    one.wait_until_ready();
    let before = settled(&one, &[&one, &two, &three], &tasks);
    let had = of(&before, &two);
    two.signal("STOP");
    let stopped = Instant::now();
    flow.grow(500);
    wait_until("the stopped worker's tasks to move", LIMIT, || {
        let placement = one.placement();
        had.iter().all(|task| placement.get(task).is_some_and(|owner| owner != two.address()))
    });
    println!("{} tasks of a stopped worker ran elsewhere after {:.1?}", had.len(), stopped.elapsed());
    flow.grow(500);
    thread::sleep(SESSION.saturating_sub(stopped.elapsed()));
    two.signal("CONT");
    flow.grow(500);
    let before = settled(&one, &[&one, &two, &three], &tasks);
    assert!(two.log().contains("everything here ends"), "{}", two.log());
    wait_for_all(&mut flow);

    // One more: it is given its share, and nothing else moves.
    let fences = flow.fences();
    let four = start("four");
    let after = settled(&one, &[&one, &two, &three, &four], &tasks);
    let given = of(&after, &four);
    assert_eq!(given.len(), TASKS / 4);
    assert_eq!(moved(&before, &after), given);
    wait_for_all(&mut flow);
    let sinks: BTreeSet<String> = given.iter().filter(|task| task.contains(".out-")).cloned().collect();
    assert_eq!(restarted(&fences, &flow.fences()), sinks);

    // A worker that says goodbye is not waited for.
    let mut three = three;
    let had = of(&after, &three);
    let asked = Instant::now();
    three.stop();
    wait_until("the tasks of the worker that left to move", LIMIT, || {
        let placement = one.placement();
        had.iter().all(|task| placement.get(task).is_some_and(|owner| owner != three.address()))
    });
    println!("{} tasks of a worker that left ran elsewhere after {:.1?}", had.len(), asked.elapsed());
    wait_for_all(&mut flow);
}
