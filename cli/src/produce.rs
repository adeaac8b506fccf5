//! `millrace produce`: lines of standard input become records.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{ProduceRecord, Producer, ProducerConfig};
use millrace_wire::compression::Compression;
use tokio::sync::mpsc;

use crate::args::{self, ProduceArgs};
use crate::exit::{Failure, Outcome};
use crate::{cluster, output, signals};

/// Longest line, as brokers take no larger record by default.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Lines read ahead of the producer.
const LINES_AHEAD_MAX: usize = 1_024;
/// How long acknowledged records may take at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends all lines; ends with 0 when each is acknowledged.
pub(crate) async fn run(args: ProduceArgs) -> Outcome {
    let headers = headers(&args.header)?;
    let client = cluster::remote(&args.bootstrap.addresses, "millrace-produce")?;
    let config = ProducerConfig { compression: compression(args.compression), ..ProducerConfig::default() };
    let producer = Producer::start(&client, config).await.map_err(Failure::client)?;
    let mut stop = signals::watch()?;
    let mut lines = read_lines();
    let topic: Arc<str> = Arc::from(args.topic.as_str());
    // Asks for the topic at once, so that a typo shows before the first line is typed.
    producer.partition_count(&topic).await.map_err(Failure::client)?;
    let mut sent: u64 = 0;
    loop {
        let line = tokio::select! {
            biased;
            () = stop.asked() => break,
            line = lines.recv() => line,
        };
        let Some(line) = line else { break };
        let line = line.map_err(|error| Failure::Runtime(format!("line {}: {error}", sent + 1)))?;
        let (key, value) = split(line, args.key_separator.as_deref())
            .ok_or_else(|| Failure::Runtime(missing_separator(sent + 1, args.key_separator.as_deref())))?;
        let record = ProduceRecord {
            topic: Arc::clone(&topic),
            partition: args.partition,
            key,
            value: if args.null_empty && value.is_empty() { None } else { Some(value) },
            headers: headers.clone(),
            timestamp: None,
        };
        // The outcome of each is told by the flush.
        drop(producer.send(record).await.map_err(Failure::client)?);
        sent += 1;
    }
    producer.flush().await.map_err(Failure::client)?;
    producer.close(CLOSE_TIMEOUT).await.map_err(Failure::client)?;
    let records = if sent == 1 { "record" } else { "records" };
    output::remark(format!("{} {records} acknowledged", output::grouped(sent)));
    Ok(())
}

/// Lines of standard input without their ends, read by a thread of its own since a read can't be interrupted.
fn read_lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (send, lines) = mpsc::channel(LINES_AHEAD_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            let ended = line.last() == Some(&b'\n');
            let outcome = match read {
                Ok(0) => return,
                Ok(_) if !ended && line.len() as u64 > LINE_BYTES_MAX => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "longer than 1 MiB; split it, or use a client of your own",
                )),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if ended {
                line.pop();
            }
            let failed = outcome.is_err();
            if send.blocking_send(outcome.map(|()| Bytes::from(line))).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// Key and value; `None` if there is no separator.
fn split(line: Bytes, separator: Option<&str>) -> Option<(Option<Bytes>, Bytes)> {
    let Some(separator) = separator.map(str::as_bytes).filter(|s| !s.is_empty()) else {
        return Some((None, line));
    };
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((Some(line.slice(..at)), line.slice(at + separator.len()..)))
}

fn missing_separator(line: u64, separator: Option<&str>) -> String {
    let separator = separator.unwrap_or_default();
    format!(
        "line {line} has no `{separator}` between key and value; leave out --key-separator for records without keys"
    )
}

fn headers(pairs: &[String]) -> Result<Vec<(Bytes, Option<Bytes>)>, Failure> {
    let header = |pair: &String| match pair.split_once('=') {
        Some((name, value)) => Ok((Bytes::from(name.to_owned()), Some(Bytes::from(value.to_owned())))),
        None => Err(Failure::validation(format!("--header {pair}: expected NAME=VALUE"))),
    };
    pairs.iter().map(header).collect()
}

fn compression(chosen: args::Compression) -> Compression {
    match chosen {
        args::Compression::None => Compression::None,
        args::Compression::Gzip => Compression::Gzip,
        args::Compression::Snappy => Compression::Snappy,
        args::Compression::Lz4 => Compression::Lz4,
        args::Compression::Zstd => Compression::Zstd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_at_the_first_separator() {
        let split = |line: &'static str, separator| super::split(Bytes::from(line), separator);
        assert_eq!(split("a:b:c", Some(":")), Some((Some("a".into()), "b:c".into())));
        assert_eq!(split("a::b", Some("::")), Some((Some("a".into()), "b".into())));
        assert_eq!(split(":b", Some(":")), Some((Some("".into()), "b".into())));
        assert_eq!(split("ab", Some(":")), None);
        assert_eq!(split("a:b", None), Some((None, "a:b".into())));
    }
}
