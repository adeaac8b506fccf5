//! `millrace run` is killed while a growing file goes through a topic to an HTTP server that is often busy: nothing is lost, and
//! what comes twice has the idempotency key that it had the first time. And while pages of a server go into a topic: each record
//! is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::http::{self, Answer, HttpServer};
use millrace_tests::process::{Process, command};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Broker, binary, topic};
use serde_json::Value;

/// Kills; each run of the pipeline takes long beside its life.
const KILLS: u32 = 30;
/// The process lives this long between two kills, milliseconds.
const LIFE_MS: (u64, u64) = (100, 900);
/// Lines that the source file grows by in each life.
const LINES_PER_LIFE: (u64, u64) = (20, 200);
/// Longest time of the last run, which nobody kills.
const FINISH_LIMIT: Duration = Duration::from_secs(180);
/// Each so many requests the server is busy.
const BUSY_EVERY: u32 = 11;

/// One sink sends singly, one in batches.
fn pipeline(follow: bool, server: &str) -> String {
    format!(
        "version: 1
connections:
  shop: {{ http: {{ url: \"{server}\" }} }}
pipelines:
  numbers:
    source: {{ connector: file-source, path: ./numbers.jsonl, format: jsonl, follow: {follow}, key: key }}
    topic: {{ name: numbers, partitions: 3 }}
    sinks:
      single:
        connector: http-sink
        connection: shop
        url: /single
        in_flight: 4
        flush_interval: 100ms
        errors: {{ retry_delay_max: 200ms }}
      batches:
        connector: http-sink
        connection: shop
        url: \"/batches/${{partition}}\"
        batch: {{ records: 20, format: lines }}
        flush_interval: 100ms
        errors: {{ retry_delay_max: 200ms }}
"
    )
}

fn run(folder: &Path, address: SocketAddr, options: &[&str]) -> Process {
    let mut run = command(binary());
    run.args(["run", "numbers.yaml", "--data-dir", "data", "--listen", &address.to_string()]).args(options);
    Process::spawn(run.current_dir(folder), folder.join("run.txt"))
}

fn number(line: &str) -> u64 {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("torn {line:?}: {error}"));
    value["n"].as_u64().unwrap_or_else(|| panic!("no number in {line}"))
}

#[test]
fn a_killed_pipeline_sends_every_record_and_repeats_none_under_another_key() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let address = free_address();
    let asked = AtomicU32::new(0);
    let server = HttpServer::start(move |_| {
        let busy = asked.fetch_add(1, Ordering::SeqCst) % BUSY_EVERY == BUSY_EVERY - 1;
        Answer::status(if busy { 503 } else { 200 })
    });
    fs::write(folder.join("numbers.yaml"), pipeline(true, &server.url())).expect("written");
    let source = OpenOptions::new().create(true).append(true).open(folder.join("numbers.jsonl"));
    let mut source = source.expect("the temporary folder can be written");
    let mut total = 0;
    for _ in 0..KILLS {
        let mut running = run(folder, address, &[]);
        for _ in 0..between(&mut random, LINES_PER_LIFE) {
            writeln!(source, "{{\"n\":{total},\"key\":\"k{}\"}}", total % 7).expect("written");
            total += 1;
        }
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
        running.kill();
    }
    fs::write(folder.join("numbers.yaml"), pipeline(false, &server.url())).expect("written");
    run(folder, address, &["--exit-when-done"]).succeed(FINISH_LIMIT);

    let mut single: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut keys: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut batched: BTreeSet<u64> = BTreeSet::new();
    let mut taken: BTreeSet<u64> = BTreeSet::new();
    let (mut sent, mut repeated) = (0, 0);
    for request in server.requests() {
        // What was answered with busy has to come again.
        let is_taken = request.answered == 200;
        if request.path != "/single" {
            batched.extend(request.body.lines().map(number).filter(|_| is_taken));
            continue;
        }
        let (number, key) = (number(&request.body), request.header("idempotency-key").to_owned());
        sent += 1;
        repeated += u32::from(single.contains_key(&number));
        if is_taken {
            taken.insert(number);
        }
        single.entry(number).or_default().insert(key.clone());
        keys.entry(key).or_default().insert(number);
    }
    let expected: BTreeSet<u64> = (0..total).collect();
    assert!(taken == expected, "{} of {total} were sent singly", taken.len());
    assert!(batched == expected, "{} of {total} were sent in batches", batched.len());
    let several = single.iter().find(|(_, keys)| keys.len() != 1);
    assert!(several.is_none(), "sent under several keys: {several:?}");
    let shared = keys.iter().find(|(_, numbers)| numbers.len() != 1);
    assert!(shared.is_none(), "one key for several records: {shared:?}");
    println!("{KILLS} kills, {total} lines, {sent} requests, {repeated} of them repetitions");
}

/// Records of a page.
const PAGE: u64 = 20;

#[test]
fn a_killed_source_reads_every_page_once_and_in_order() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let address = free_address();
    let grown = Arc::new(AtomicU64::new(0));
    let (list, asked) = (Arc::clone(&grown), AtomicU32::new(0));
    let server = HttpServer::start(move |request| {
        if asked.fetch_add(1, Ordering::SeqCst) % BUSY_EVERY == BUSY_EVERY - 1 {
            return Answer::status(503);
        }
        let total = list.load(Ordering::SeqCst);
        let from: u64 = request.parameter("from").and_then(|text| text.parse().ok()).unwrap_or(0);
        let next = (from + PAGE).min(total);
        let items: Vec<String> = (from..next).map(|n| format!("{{\"n\":{n}}}")).collect();
        let answer = Answer::ok(format!("[{}]", items.join(",")));
        let is_full = next == from + PAGE;
        if is_full { answer.header("Link", format!("</list?from={next}>; rel=\"next\"")) } else { answer }
    });
    let pipeline = |follow: &str| {
        format!(
            "version: 1
connections:
  shop: {{ http: {{ url: \"{}\" }} }}
pipelines:
  numbers:
    source: {{ connector: http-source, connection: shop, url: /list, paging: {{ link: true }}{follow} }}
    topic: {{ name: numbers, partitions: 1 }}
",
            server.url()
        )
    };
    fs::write(folder.join("numbers.yaml"), pipeline(", poll_every: 100ms")).expect("written");
    for _ in 0..KILLS {
        let mut running = run(folder, address, &[]);
        grown.fetch_add(between(&mut random, LINES_PER_LIFE), Ordering::SeqCst);
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
        running.kill();
    }
    fs::write(folder.join("numbers.yaml"), pipeline("")).expect("written");
    run(folder, address, &["--exit-when-done"]).succeed(FINISH_LIMIT);
    let broker = Broker::start(folder, &[]);
    let records = topic::read(&broker.bootstrap(), "numbers", folder);
    let numbers: Vec<u64> = records.values().flatten().map(|(_, value)| number(value)).collect();
    let expected: Vec<u64> = (0..grown.load(Ordering::SeqCst)).collect();
    assert!(numbers == expected, "{} records in the topic, {} in the list", numbers.len(), expected.len());
    println!("{KILLS} kills, {} records, {} requests", numbers.len(), server.requests().len());
}

/// Senders at a time.
const SENDERS: u64 = 4;
/// Longest pause of a sender before it tries again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Senders repeat what was not answered with 200: then nothing is lost, and nothing that was answered comes twice.
#[test]
fn a_killed_listener_has_everything_that_it_answered() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let (address, hooks) = (free_address(), free_address());
    let pipeline = format!(
        "version: 1
connections:
  hooks: {{ http_listener: {{ listen: \"{hooks}\" }} }}
pipelines:
  numbers:
    source: {{ connector: webhook-source, connection: hooks }}
    topic: {{ name: numbers, partitions: 1 }}
"
    );
    fs::write(folder.join("numbers.yaml"), pipeline).expect("written");
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                // What was answered, and what was sent several times until then.
                let (mut answered, mut repeated) = (Vec::new(), BTreeSet::new());
                let mut next = sender;
                while !over.load(Ordering::SeqCst) {
                    match http::send(hooks, "POST", "/", &[], &format!("{{\"n\":{next}}}")) {
                        Some((200, _)) => {
                            answered.push(next);
                            next += SENDERS;
                        }
                        _ => {
                            repeated.insert(next);
                            thread::sleep(TRY_AGAIN);
                        }
                    }
                }
                (answered, repeated)
            })
        })
        .collect();
    for _ in 0..KILLS {
        let mut running = run(folder, address, &[]);
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
        running.kill();
    }
    over.store(true, Ordering::SeqCst);
    let (mut answered, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for sender in senders {
        let (one, other) = sender.join().expect("a sender ends");
        answered.extend(one);
        repeated.extend(other);
    }
    let broker = Broker::start(folder, &[]);
    let records = topic::read(&broker.bootstrap(), "numbers", folder);
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (_, value) in records.values().flatten() {
        *times.entry(number(value)).or_default() += 1;
    }
    let lost: Vec<_> = answered.iter().filter(|n| !times.contains_key(n)).collect();
    assert!(lost.is_empty(), "answered and not there: {lost:?}");
    let doubled: Vec<_> = times.iter().filter(|(n, times)| **times > 1 && !repeated.contains(n)).collect();
    assert!(doubled.is_empty(), "sent once and there several times: {doubled:?}");
    assert!(answered.len() > KILLS as usize, "only {} requests were answered", answered.len());
    println!("{KILLS} kills, {} requests answered, {} sent again", answered.len(), repeated.len());
}
