//! `doctor`: what is well and what isn't, told line by line, each with its mending.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::thread;

use crate::support::{Broker, code, free_address, millrace, run, stderr, stdout};

fn pipeline(folder: &Path, text: &str) -> String {
    let file = folder.join("p.yaml");
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

/// From the folder of the file, so that folders are shown as they are written.
fn doctor(folder: &Path, args: &[&str]) -> Output {
    let file = folder.join("p.yaml");
    let run = millrace().arg("doctor").arg(file).args(args).current_dir(folder).output();
    run.expect("the binary starts")
}

/// With what differs from machine to machine left out.
fn told(folder: &Path, output: &Output) -> String {
    let text = stdout(output).replace(&format!("{}/", folder.display()), "");
    let mut told = String::new();
    for line in text.lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        let is_room = |at: usize| words.get(at + 1).is_some_and(|unit| unit.starts_with("MiB"));
        let masked = words.iter().enumerate().map(|(at, word)| if is_room(at) { "N" } else { word });
        told.push_str(&masked.collect::<Vec<_>>().join(" "));
        told.push('\n');
    }
    told
}

/// A server that answers every request with these lines, one connection after the other.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

const FILES: &str = "\
version: 1
broker: { data: ./data, listen: \"LISTEN\" }
pipelines:
  orders:
    source: { connector: file-source, folder: ./inbox, format: lines }
    topic: { name: orders, partitions: 3 }
    sinks:
      archive: { connector: file-sink, path: ./out/orders.txt, format: lines }
";

#[test]
fn files_folders_and_the_broker_of_the_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("inbox")).expect("a folder");
    std::fs::write(folder.join("inbox/a.txt"), "a\n").expect("a file");
    let listen = free_address();
    pipeline(folder, &FILES.replace("LISTEN", &listen));
    let good = doctor(folder, &[]);
    assert_eq!(code(&good), Some(0), "{}{}", stdout(&good), stderr(&good));
    assert_eq!(
        told(folder, &good).replace(&listen, "LISTEN"),
        "\
ok       files: 1 pipeline, 2 connectors, no problem
ok       folder ./inbox: can be read
ok       folder ./out: will be made, N MiB are left
ok       orders.source: files of ./inbox: 1 file can be read
ok       folder data: will be made, N MiB are left
ok       broker: can listen on LISTEN
6 looked at, 0 to watch, 0 to mend
"
    );
    assert_eq!(std::fs::read_dir(folder).expect("the folder").count(), 2, "it leaves nothing behind");

    std::fs::remove_file(folder.join("inbox/a.txt")).expect("removed");
    let empty = told(folder, &doctor(folder, &[]));
    let warned = "warning  orders.source: files of ./inbox: are not there\n         -> correct the path, or set `follow: true` to wait for them";
    assert!(empty.contains(warned), "{empty}");
    std::fs::remove_dir(folder.join("inbox")).expect("removed");
    std::fs::write(folder.join("out"), "").expect("a file in the way");
    let taken = TcpListener::bind(&listen).expect("the port is free");
    let bad = doctor(folder, &[]);
    assert_eq!((code(&bad), stderr(&bad).as_str()), (Some(1), ""));
    let said = told(folder, &bad).replace(&listen, "LISTEN");
    for line in [
        "failed   folder ./inbox: inbox can't be read: No such file or directory (os error 2)",
        "         -> make it, or let the user that runs this read it",
        "failed   folder ./out: out can't be written to: Not a directory (os error 20)",
        "failed   broker: can't listen on LISTEN: Address already in use (os error 98)",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    drop(taken);
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_the_rest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let text = FILES
        .replace("LISTEN", &free_address())
        .replace("format: lines }\n    topic", "fromat: lines }\n    topic");
    pipeline(folder, &text.replace("./inbox", "\"${env:MILLRACE_DOCTOR_NOBODY}\""));
    let bad = doctor(folder, &["--output", "json"]);
    assert_eq!(code(&bad), Some(1), "{}", stderr(&bad));
    let told: serde_json::Value = serde_json::from_str(&stdout(&bad)).expect("JSON");
    let failed = |text: &str| {
        told.as_array().into_iter().flatten().any(|finding| {
            finding["health"] == "failed" && finding["said"].as_str().is_some_and(|said| said.contains(text))
        })
    };
    assert!(failed("MILLRACE_DOCTOR_NOBODY") && failed("fromat"), "{told:#}");
}

#[test]
fn a_cluster_that_answers_and_one_that_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("inbox")).expect("a folder");
    pipeline(folder, &FILES.replace("LISTEN", "127.0.0.1:0"));
    let broker = Broker::start(&[]);
    let good = doctor(folder, &["--bootstrap", &broker.address]);
    assert_eq!(code(&good), Some(0), "{}{}", stdout(&good), stderr(&good));
    let said = told(folder, &good);
    for line in [
        "ok       cluster: answers; id ",
        "ok       topic orders: will be made",
        "ok       transactions: are granted",
        "ok       group connect-orders.archive: begins at the start of its topic",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    let topics = stdout(&run(&broker.at(&["topic", "list"])));
    assert!(!topics.contains("orders"), "nothing was made: {topics}");
    let made = run(&broker.at(&["topic", "create", "orders", "--partitions", "1"]));
    assert_eq!(code(&made), Some(0), "{}", stderr(&made));
    let differs = doctor(folder, &["--bootstrap", &broker.address]);
    assert_eq!(code(&differs), Some(0), "a warning only");
    let said = told(folder, &differs);
    assert!(
        said.contains("warning  topic orders: is there, with 1 partitions; the pipeline says 3"),
        "{said}"
    );

    let nobody = doctor(folder, &["--bootstrap", &free_address()]);
    assert_eq!(code(&nobody), Some(1));
    let said = told(folder, &nobody);
    assert!(said.contains("failed   cluster: ") && said.contains("-> start it, or correct"), "{said}");
}

#[test]
fn connections_are_tried_with_their_credentials_and_clocks_compared() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let refuses = server(
        "HTTP/1.1 401 Unauthorized\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let nobody = free_address();
    let text = format!(
        "\
version: 1
broker: {{ data: ./data, listen: \"127.0.0.1:0\" }}
connections:
  gone: {{ http: {{ url: \"http://{nobody}/v1\" }} }}
  shop: {{ http: {{ url: \"http://{refuses}/v1\", auth: {{ bearer: hunter2 }} }} }}
pipelines:
  orders:
    topic: orders
    sinks:
      a: {{ connector: http-sink, connection: gone, url: /a }}
      b: {{ connector: http-sink, connection: shop, url: /b }}
"
    );
    pipeline(folder, &text);
    let tried = doctor(folder, &[]);
    assert_eq!(code(&tried), Some(1), "{}", stderr(&tried));
    let said = told(folder, &tried);
    for line in [
        format!("failed   connection gone: http://{nobody}/v1 can't be reached: "),
        "         -> start the service, or correct `url` of the connection".to_owned(),
        format!(
            "warning  connection shop: http://{refuses}/v1 answers 401: it does not take the credentials"
        ),
        "warning  connection shop: clocks are ".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}:\n{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
