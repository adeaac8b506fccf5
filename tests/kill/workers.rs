//! Three workers share sources, transforms and sinks; workers, the broker, and both at once are killed. In the end each line is there
//! once and in order.
//!
//! `MILLRACE_WORKER_KILLS=200` kills that often; the test command is content with [`KILLS`].

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use millrace_tests::peer::Kafka;
use millrace_tests::process::wait_until;
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Broker, Flow, Worker};

/// Kills, unless the environment says how many.
const KILLS: u32 = 20;
/// Kills with Apache Kafka as the cluster.
const KILLS_ON_KAFKA: u32 = 5;
/// Time between two kills, milliseconds: from before anybody has noticed to long after the tasks have moved.
const LIFE_MS: (u64, u64) = (50, 5000);
/// How long the killed ones stay away, milliseconds: on both sides of the session timeout.
const AWAY_MS: (u64, u64) = (0, 4000);
/// Lines that each source file grows by between two kills.
const LINES_PER_LIFE: (u64, u64) = (20, 400);
/// Between two looks at who runs what.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest time until all has arrived when nobody kills any more.
const FINISH_LIMIT: Duration = Duration::from_secs(240);
/// A session that lets a killed worker be missed between two kills; the broker has to grant it.
const SESSION: [&str; 2] = ["session.timeout.ms=2000", "heartbeat.interval.ms=300"];
const GRANT: &str = "group.min.session.timeout.ms=2000";
const NO_DELAY: &str = "group.initial.rebalance.delay.ms=0";

fn kills() -> u32 {
    std::env::var("MILLRACE_WORKER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Kills `kills` times; the broker, too, if it is ours.
fn kill_and_check(folder: &Path, bootstrap: &str, mut broker: Option<&mut Broker>, kills: u32) {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let mut flow = Flow::new(folder, &["ants", "bees", "cats"]);
    let names = ["one", "two", "three"];
    let mut workers = names.map(|name| Worker::start(folder, name, bootstrap, &SESSION));
    workers.iter_mut().for_each(Worker::wait_until_ready);
    workers[0].apply(&flow.file());

    let (mut broker_kills, mut takeovers) = (0, Vec::new());
    for _ in 0..kills {
        flow.grow(between(&mut random, LINES_PER_LIFE));
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        let victim = between(&mut random, (0, 3)) as usize;
        let what = between(&mut random, (0, 10));
        let (kills_broker, kills_worker) = (what >= 7, what < 9);
        for worker in &mut workers {
            assert!(!worker.has_ended(), "a worker ended by itself:\n{}", worker.log());
        }
        let other = (victim + 1) % workers.len();
        let lost = tasks_of(&workers[victim], &workers[other]);
        if kills_worker {
            workers[victim].kill();
        }
        let killed = Instant::now();
        if let Some(broker) = broker.as_deref_mut().filter(|_| kills_broker) {
            broker.kill();
            broker_kills += 1;
            thread::sleep(Duration::from_millis(between(&mut random, AWAY_MS) / 4));
            broker.restart();
        }
        flow.grow(between(&mut random, LINES_PER_LIFE));
        if kills_worker {
            let away = Duration::from_millis(between(&mut random, AWAY_MS));
            let moved = watch(&workers[other], workers[victim].address(), &lost, killed, away);
            takeovers.extend(moved.filter(|_| !kills_broker));
            workers[victim].restart();
        }
    }
    wait_until("all lines to arrive", FINISH_LIMIT, || flow.arrived() >= flow.total());
    // Who ends now finishes its files: nothing may come in them that was there before.
    workers.iter_mut().for_each(Worker::stop);
    flow.check();
    println!("{kills} kills, {broker_kills} of the broker, {} lines", flow.total());
    takeovers.sort_unstable();
    if let (Some(first), Some(last)) = (takeovers.first(), takeovers.last()) {
        let median = takeovers[takeovers.len() / 2];
        println!("{} takeovers seen: {first:?} to {last:?}, median {median:?}", takeovers.len());
    }
}

/// The tasks that run on a worker, as another one says.
fn tasks_of(worker: &Worker, other: &Worker) -> Vec<String> {
    let placement = other.placement().into_iter();
    let mine = placement.filter(|(what, at)| at == worker.address() && what.contains('-'));
    mine.map(|(what, _)| what).collect()
}

/// Looks on while a worker is away; gives the time from its end until all that it ran was seen to run elsewhere.
fn watch(other: &Worker, gone: &str, lost: &[String], killed: Instant, away: Duration) -> Option<Duration> {
    let back = Instant::now() + away;
    let mut moved = None;
    while Instant::now() < back {
        if moved.is_none() && !lost.is_empty() {
            let placement = other.placement();
            let runs = |task: &String| placement.get(task).is_some_and(|at| at != gone);
            moved = lost.iter().all(runs).then(|| killed.elapsed());
        }
        thread::sleep(LOOK_EVERY.min(back.saturating_duration_since(Instant::now())));
    }
    moved
}

#[test]
fn killed_workers_and_brokers_move_every_line_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut broker = Broker::start(folder.path(), &[GRANT, NO_DELAY]);
    let bootstrap = broker.bootstrap();
    kill_and_check(folder.path(), &bootstrap, Some(&mut broker), kills());
}

#[test]
fn killed_workers_on_apache_kafka_move_every_line_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kafka = Kafka::start(&folder.path().join("kafka"), &[GRANT, NO_DELAY]);
    kill_and_check(folder.path(), kafka.bootstrap(), None, KILLS_ON_KAFKA);
}
