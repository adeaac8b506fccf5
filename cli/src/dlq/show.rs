//! `list` and `show`.

use millrace_connect_runtime::convert::civil;
use millrace_connect_runtime::redrive::{Choice, DeadLetters, Error, Found, Heap};
use serde_json::{Value, json};

use super::{failure, letters, place, records};
use crate::args::{Place, Shown};
use crate::consume::shown_bytes;
use crate::exit::Outcome;
use crate::output;

pub(super) async fn list(names: &[String], place: &Place, shown: Shown) -> Outcome {
    let letters = letters(&place.bootstrap.addresses)?;
    let topics = place::topics(&letters, place).await?;
    let is_meant = |heap: &Heap| {
        let of = |name: &String| {
            heap.connector == *name
                || heap.connector.rsplit_once('.').is_some_and(|(before, _)| before == name)
        };
        names.is_empty() || names.iter().any(of)
    };
    let mut heaps = Vec::new();
    for topic in topics {
        match letters.heaps(&topic).await {
            Ok(found) => heaps.extend(found.into_iter().filter(is_meant)),
            // Its connector did not start yet; one that was named is missed.
            Err(Error::NoTopic(_)) if place.topics.is_empty() => {}
            Err(error) => return Err(failure(error)),
        }
    }
    heaps.sort_by(|a, b| (&a.connector, &a.topic).cmp(&(&b.connector, &b.topic)));
    if shown == Shown::Json {
        for heap in &heaps {
            output::line(in_json(heap).to_string())?;
        }
        return Ok(());
    }
    let heading = ["CONNECTOR", "TOPIC", "STAGE", "ERROR", "WAITING", "OLDEST", "RETRIED"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(heaps.iter().map(|heap| {
        vec![
            heap.connector.clone(),
            heap.topic.clone(),
            heap.stage.clone(),
            heap.code.clone(),
            heap.waiting.to_string(),
            time(heap.oldest_ms),
            heap.retries_max.to_string(),
        ]
    }));
    output::line(output::table(&rows))?;
    heaps.dedup_by(|a, b| a.connector == b.connector);
    for heap in heaps {
        let waiting = letters.on_their_way(&heap.connector).await.map_err(failure)?;
        if waiting > 0 {
            output::remark(format!(
                "{}: {} on the way back, not taken yet",
                heap.connector,
                records(waiting)
            ));
        }
    }
    Ok(())
}

pub(super) async fn show(
    letters: &DeadLetters,
    topic: &str,
    connector: &str,
    choice: &Choice,
    shown: Shown,
) -> Outcome {
    let mut outcome: Outcome = Ok(());
    let take = |found: &Found<'_>| {
        if outcome.is_ok() {
            outcome = output::line(match shown {
                Shown::Text => record_in_text(found),
                Shown::Json => record_in_json(found).to_string(),
            });
        }
    };
    letters.waiting(topic, connector, choice, take).await.map_err(failure)?;
    outcome
}

fn in_json(heap: &Heap) -> Value {
    json!({
        "connector": heap.connector, "topic": heap.topic, "stage": heap.stage, "error": heap.code,
        "waiting": heap.waiting, "oldest": heap.oldest_ms, "retries": heap.retries_max,
    })
}

fn record_in_text(found: &Found<'_>) -> String {
    let letter = &found.letter;
    let one_line = |text: &str| text.replace(char::is_control, " ");
    let mut text = format!(
        "{}-{}-{}  {}  {}  {}  {}",
        found.topic,
        found.partition,
        found.offset,
        one_line(&letter.connector),
        one_line(&letter.stage),
        one_line(&letter.code),
        time(found.timestamp_ms)
    );
    if letter.retries > 0 {
        text.push_str(&format!("  retried {}x", letter.retries));
    }
    if let Some((topic, partition, offset)) = &letter.origin {
        text.push_str(&format!("\n  from   {}-{partition}-{offset}", one_line(topic)));
    }
    if let Some(topic) = &letter.destination {
        text.push_str(&format!("\n  to     {}", one_line(topic)));
    }
    text.push_str(&format!("\n  error  {}: {}", one_line(&letter.component), one_line(&letter.message)));
    if letter.is_left_out {
        text.push_str("\n  the record is too large to be in its letter");
    }
    let bytes = |bytes: Option<&[u8]>| {
        bytes.map_or_else(|| "null".to_owned(), |bytes| one_line(&String::from_utf8_lossy(bytes)))
    };
    for (name, value) in &letter.headers {
        text.push_str(&format!("\n  header {}: {}", bytes(Some(name)), bytes(*value)));
    }
    text.push_str(&format!("\n  key    {}\n  value  {}", bytes(found.key), bytes(found.value)));
    text
}

fn record_in_json(found: &Found<'_>) -> Value {
    let letter = &found.letter;
    let origin = letter.origin.as_ref().map(
        |(topic, partition, offset)| json!({ "topic": topic, "partition": partition, "offset": offset }),
    );
    let headers = letter.headers.iter();
    let headers = headers
        .map(|(name, value)| json!({ "name": String::from_utf8_lossy(name), "value": shown_bytes(*value) }));
    json!({
        "topic": found.topic, "partition": found.partition, "offset": found.offset,
        "timestamp": found.timestamp_ms, "connector": letter.connector, "task": letter.task,
        "stage": letter.stage, "component": letter.component, "error": letter.code,
        "message": letter.message, "origin": origin, "destination": letter.destination,
        "retries": letter.retries, "left_out": letter.is_left_out,
        "key": shown_bytes(found.key), "value": shown_bytes(found.value),
        "headers": headers.collect::<Vec<_>>(),
    })
}

/// `2026-11-27T14:03:11.250Z`
fn time(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, ms) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::From;

    #[test]
    fn times_are_what_the_command_line_takes() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        for ms in [0, 1_795_248_000_250, 1_709_164_800_000, 951_782_399_999, 4_102_444_799_999] {
            assert_eq!(time(ms).parse(), Ok(From::Time(ms)), "{}", time(ms));
        }
    }
}
