//! `offsets get`, `set`, `reset`.

use serde_json::{Value, json};

use super::path;
use crate::args::{OffsetsCommand, Shown};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::rest::Rest;

pub(super) async fn run(command: OffsetsCommand) -> Outcome {
    match command {
        OffsetsCommand::Get { connector, url, output } => {
            let offsets = Rest::new(&url.url)?.get(&path(&connector, "/offsets")).await?;
            if output == Shown::Json {
                return output::line(format!("{offsets:#}"));
            }
            let mut rows = vec![["PARTITION", "POSITION"].map(str::to_owned).to_vec()];
            rows.extend(pairs(&offsets).into_iter().map(|(partition, position)| vec![partition, position]));
            output::line(output::table(&rows))
        }
        OffsetsCommand::Set { connector, positions, url } => {
            let rest = Rest::new(&url.url)?;
            let status = rest.get(&path(&connector, "/status")).await?;
            let is_sink = status["type"] == "sink";
            let offsets: Result<Vec<Value>, Failure> =
                positions.iter().map(|position| parsed(position, is_sink)).collect();
            rest.patch(&path(&connector, "/offsets"), &json!({ "offsets": offsets? })).await?;
            output::line(format!("{connector} goes on from there when it is resumed"))
        }
        OffsetsCommand::Reset { connector, url } => {
            Rest::new(&url.url)?.delete(&path(&connector, "/offsets")).await?;
            output::line(format!("{connector} begins anew when it is resumed"))
        }
    }
}

/// `PARTITION=POSITION` in the worker's shape.
fn parsed(text: &str, is_sink: bool) -> Result<Value, Failure> {
    let wrong = |expected: &str| Failure::validation(format!("{text}: expected {expected}"));
    let pair = text.rsplit_once('=').filter(|(partition, _)| !partition.is_empty());
    let (partition, position) = pair.ok_or_else(|| wrong("PARTITION=POSITION"))?;
    if !is_sink {
        let offset = if position.is_empty() { Value::Null } else { json!({ "position": position }) };
        return Ok(json!({ "partition": { "partition": partition }, "offset": offset }));
    }
    let expected = "TOPIC-PARTITION=OFFSET, such as orders-0=42";
    let (topic, partition) = partition.rsplit_once('-').ok_or_else(|| wrong(expected))?;
    let partition: i32 = partition.parse().map_err(|_| wrong(expected))?;
    let offset = match position {
        "" => Value::Null,
        position => json!({ "kafka_offset": position.parse::<u64>().map_err(|_| wrong(expected))? }),
    };
    Ok(json!({ "partition": { "kafka_topic": topic, "kafka_partition": partition }, "offset": offset }))
}

/// Partitions and positions in one word each.
pub(super) fn pairs(offsets: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pair = |pair: &Value| {
        let (partition, offset) = (&pair["partition"], &pair["offset"]);
        match partition["kafka_topic"].as_str() {
            Some(topic) => {
                (format!("{topic}-{}", word(&partition["kafka_partition"])), word(&offset["kafka_offset"]))
            }
            None => {
                let position = offset.get("position").map_or_else(|| offset.to_string(), word);
                (word(&partition["partition"]), position)
            }
        }
    };
    offsets["offsets"].as_array().into_iter().flatten().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_on_the_command_line() {
        let sink = parsed("orders-eu-0=42", true).unwrap();
        assert_eq!(sink["partition"], json!({ "kafka_topic": "orders-eu", "kafka_partition": 0 }));
        let source = parsed("a=b.csv=1024", false).unwrap();
        assert_eq!(
            (&source["partition"], &source["offset"]),
            (&json!({ "partition": "a=b.csv" }), &json!({ "position": "1024" }))
        );
        assert_eq!(parsed("a.csv=", false).unwrap()["offset"], Value::Null);
        for bad in ["x", "=5", "orders=5", "orders-x=5", "orders-0=-5"] {
            assert!(parsed(bad, true).is_err(), "{bad}");
        }
        let all = json!({ "offsets": [sink, source] });
        assert_eq!(pairs(&all), [("orders-eu-0".into(), "42".into()), ("a=b.csv".into(), "1024".into())]);
    }
}
