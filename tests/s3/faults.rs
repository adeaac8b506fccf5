//! What goes wrong between sink and store: processes that are killed, answers that are lost, stores that say "slow down". In the end every
//! row is there once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use millrace_tests::process::Process;
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{KINDS, Kind, S3, run, server, write};
use millrace_tests::strikes::{row, write_rows};

use crate::data::{by_number, pipeline, read};

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: u64 = 20_000;

/// Small objects and larger ones, by folders.
const SINK: &str = "format: json\nflush_interval: 50ms\nflush_size: 700\npartitioner: field\npartition_field_name: [kind]\n\
                    rotate_idle: 300ms\nerrors: { retry_timeout: 60s }";

/// Unfinished uploads that the server keeps, as files.
fn unfinished(server: &S3) -> usize {
    let folder = server.folder().join(".sgwtmp/multipart");
    let uploads = std::fs::read_dir(folder).into_iter().flatten().flatten();
    uploads.map(|object| std::fs::read_dir(object.path()).into_iter().flatten().count()).sum()
}

fn check(server: &S3) {
    let rows = by_number(&read(server));
    assert_eq!(rows.len() as u64, ROWS);
    assert!(rows.into_iter().all(|(n, found)| found == row(n)));
    if server.kind() == Kind::VersityGw {
        assert_eq!(unfinished(server), 0, "uploads are left");
    }
}

/// Only over versitygw: s3s-fs forgets an upload before it writes the object, so what kills it in between, or the client whom it answers,
/// loses what was uploaded. No store may do that (its parts are promised until the upload is completed or aborted).
#[test]
fn kills_of_worker_and_store_lose_and_double_nothing() {
    let (folder, mut server) = server(Kind::VersityGw);
    let folder = folder.path();
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    write_rows(folder, "in.jsonl", 0..ROWS);
    write(folder, "pipeline.yaml", pipeline(&server, &server.endpoint(), SINK));
    for kill in 0..9 {
        let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
        thread::sleep(Duration::from_millis(500 + random.below(1500)));
        if kill % 3 == 1 {
            server.kill();
            thread::sleep(Duration::from_millis(random.below(400)));
            server.restart();
            thread::sleep(Duration::from_millis(random.below(600)));
        }
        process.kill();
    }
    Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
    check(&server);
}

/// Between sink and store: of the requests some are answered "slow down", of some the answer is lost.
struct Proxy {
    address: String,
    refused: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Proxy {
    fn start(to: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (refused, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let proxy = Proxy { address, refused: Arc::clone(&refused), lost: Arc::clone(&lost) };
        let count = AtomicU64::new(0);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, number) = (to.clone(), count.fetch_add(1, Ordering::Relaxed));
                let (refused, lost) = (Arc::clone(&refused), Arc::clone(&lost));
                thread::spawn(move || exchange(stream, &to, number, &refused, &lost));
            }
        });
        proxy
    }
}

const SLOW_DOWN: &str =
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>";

/// One request and its answer; the connection ends with it.
fn exchange(
    mut client: TcpStream,
    to: &str,
    number: u64,
    refused: &AtomicU64,
    lost: &AtomicU64,
) -> Option<()> {
    let request = request(&mut client)?;
    if number % 13 == 3 {
        refused.fetch_add(1, Ordering::Relaxed);
        let length = SLOW_DOWN.len();
        let answer = format!(
            "HTTP/1.1 503 Slow Down\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{SLOW_DOWN}"
        );
        return client.write_all(answer.as_bytes()).ok();
    }
    let mut server = TcpStream::connect(to).ok()?;
    server.write_all(&request).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    if number % 17 == 5 {
        lost.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    client.write_all(&answer).ok()
}

/// Reads a request, and asks the server to close behind it.
fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    let mut more = |bytes: &mut Vec<u8>| {
        let length = client.read(&mut piece).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&piece[..length]);
        Some(())
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(&mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    while bytes.len() < end + 4 + length.unwrap_or(0) {
        more(&mut bytes)?;
    }
    bytes.splice(end..end, *b"\r\nConnection: close");
    Some(bytes)
}

#[test]
fn slow_stores_and_lost_answers_lose_and_double_nothing() {
    for kind in KINDS {
        let (folder, server) = server(kind);
        let folder = folder.path();
        let proxy = Proxy::start(server.address().to_owned());
        write_rows(folder, "in.jsonl", 0..ROWS);
        write(folder, "pipeline.yaml", pipeline(&server, &format!("http://{}", proxy.address), SINK));
        Process::spawn(&mut run(folder), folder.join("run.log")).succeed(LIMIT);
        let (refused, lost) = (proxy.refused.load(Ordering::Relaxed), proxy.lost.load(Ordering::Relaxed));
        assert!(refused > 3 && lost > 3, "the proxy refused {refused} requests and lost {lost} answers");
        // What a lost answer left of uploads, the next start sweeps away.
        Process::spawn(&mut run(folder), folder.join("again.log")).succeed(LIMIT);
        check(&server);
    }
}
