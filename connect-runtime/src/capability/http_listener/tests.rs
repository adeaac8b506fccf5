//! The listener against a client of its own kind: who may send, what is held, and how it ends.

use std::path::Path;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::auth::{Auth, Refused, before_body, with_body};
use super::*;
use crate::connection::{Fault, Surroundings};
use crate::spec::ProcessEnvironment;

fn read(mut settings: Value) -> Result<Target, Vec<Fault>> {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    if settings.get("listen").is_none() {
        settings["listen"] = "127.0.0.1:0".into();
    }
    match open(settings.as_object().unwrap(), &around)? {
        connection::Target::HttpListener(target) => Ok(target),
        _ => unreachable!("settings of http_listener make a target of it"),
    }
}

fn target(settings: Value) -> Target {
    read(settings).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn auth(auth: Value) -> Auth {
    target(json!({ "auth": auth })).auth.unwrap()
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    list.iter().map(header).collect()
}

/// As GitHub documents it.
#[test]
fn a_signature_of_github_is_known() {
    let auth = auth(json!({"hmac": {
        "header": "X-Hub-Signature-256", "prefix": "sha256=", "secret": "It's a Secret to Everybody",
    }}));
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let check = |signature: &str, body: &[u8]| {
        with_body(Some(&auth), &headers(&[("x-hub-signature-256", signature)]), body, Duration::ZERO)
    };
    assert_eq!(check(right, b"Hello, World!"), Ok(()));
    assert_eq!(check(right, b"Hello, World?"), Err(Refused::Signature));
    for wrong in ["", "sha256=", "sha256=7", "sha256=zz", &right[7..], &right[..right.len() - 2]] {
        assert_eq!(check(wrong, b"Hello, World!"), Err(Refused::Signature), "{wrong}");
    }
    assert_eq!(before_body(Some(&auth), &headers(&[])), Err(Refused::Signature));
}

/// As Slack documents it.
#[test]
fn a_signature_over_a_time_is_known_and_holds_for_a_while() {
    let auth = auth(json!({"hmac": {
        "header": "X-Slack-Signature", "prefix": "v0=", "secret": "8f742231b10e8888abcd99yyyzzz85a5",
        "signed": "v0:{X-Slack-Request-Timestamp}:{body}", "timestamp": "X-Slack-Request-Timestamp",
    }}));
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
        response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let sent = 1_531_420_618;
    let check = |time: &str, now: u64| {
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let headers = headers(&[("x-slack-signature", signature), ("x-slack-request-timestamp", time)]);
        with_body(Some(&auth), &headers, body, Duration::from_secs(now))
    };
    assert_eq!(check("1531420618", sent + 299), Ok(()));
    assert_eq!(check("1531420618", sent - 299), Ok(()));
    assert_eq!(check("1531420618", sent + 301), Err(Refused::Time));
    assert_eq!(check("1531420619", sent), Err(Refused::Signature));
    assert_eq!(check("soon", sent), Err(Refused::Time));
}

/// As the Standard Webhooks specification has it.
#[test]
fn one_right_signature_of_several_is_enough() {
    let auth = auth(json!({"hmac": {
        "header": "webhook-signature", "prefix": "v1,", "encoding": "base64",
        "secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret_encoding": "base64",
        "signed": "{webhook-id}.{webhook-timestamp}.{body}",
    }}));
    let check = |signature: &str| {
        let headers = headers(&[
            ("webhook-signature", signature),
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
        ]);
        with_body(Some(&auth), &headers, b"{\"test\": 2432232314}", Duration::ZERO)
    };
    let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(check(&format!("v1,AAAA v2,x {right}")), Ok(()));
    assert_eq!(check("v1,AAAA v2,x"), Err(Refused::Signature));
    assert_eq!(check(&format!("{}{right}", "x ".repeat(100))), Err(Refused::Signature), "too many");
}

#[test]
fn what_is_wrong_with_settings_is_told_where_it_stands() {
    let pointers = |settings: Value| {
        let faults = read(settings).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
    };
    let hmac = |more: Value| {
        let mut all = json!({"header": "X-Sign", "secret": "s"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"auth": {"hmac": all}})
    };
    assert_eq!(pointers(json!({"listen": "somewhere"})), ["/listen"]);
    assert_eq!(pointers(json!({"body_max": "17MiB", "timeout": "0s"})), ["/body_max", "/timeout"]);
    assert_eq!(pointers(json!({"body_max": "2MiB", "held_max": "3MiB"})), ["/held_max"]);
    assert_eq!(pointers(json!({"auth": {"basic": {"user": "a:b", "password": "p"}}})), ["/auth/basic/user"]);
    assert_eq!(pointers(json!({"auth": {"header": {"name": "a b", "value": "v"}}})), ["/auth/header/name"]);
    assert_eq!(pointers(hmac(json!({"secret": "?", "secret_encoding": "base64"}))), ["/auth/hmac/secret"]);
    assert_eq!(pointers(hmac(json!({"signed": "{x-time}"}))), ["/auth/hmac/signed"]);
    assert_eq!(pointers(hmac(json!({"signed": "{body"}))), ["/auth/hmac/signed"]);
    assert_eq!(pointers(hmac(json!({"signed": "{a b}{body}"}))), ["/auth/hmac/signed"]);
    assert_eq!(pointers(hmac(json!({"timestamp": "x-time"}))), ["/auth/hmac/timestamp"]);
    assert_eq!(pointers(json!({})), [""; 0]);
}

/// Listens, and gives the address.
async fn listen(settings: Value) -> (Listener, SocketAddr) {
    let listener =
        Listener::open("hooks", &target(settings)).await.unwrap_or_else(|error| panic!("{error:?}"));
    let address = listener.address;
    (listener, address)
}

/// Sends a request, and gives the whole answer once the connection ends.
async fn send(address: SocketAddr, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /in?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    // Who is refused early may not take all of it.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_is_held_until_it_is_answered_and_shows_no_credentials() {
    let (listener, address) = listen(json!({"auth": {"bearer": "hunter2"}})).await;
    let refused = send(address, "authorization: Bearer hunter3\r\n", b"{}").await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Bearer"), "{refused}");
    let sent = tokio::spawn(async move {
        send(address, "Authorization: Bearer hunter2\r\nX-Kind: new\r\nCookie: a=b\r\n", b"{}").await
    });
    let taken = listener.held.take(10, 1 << 20, LONG).await;
    let [request] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((&*request.method, &*request.path, &*request.query), ("POST", "/in", "x=1"));
    assert_eq!(request.body, b"{}");
    let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "connection", "content-length", "x-kind"]);
    assert!(!sent.is_finished());
    listener.held.answer(request.id + 1, 200, String::new());
    listener.held.answer(request.id, 201, "thanks".into());
    listener.held.answer(request.id, 500, String::new());
    let answer = sent.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201") && answer.ends_with("thanks\n"), "{answer}");
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_not_held() {
    let (listener, address) = listen(json!({"body_max": "1KiB", "held_max": "5KiB"})).await;
    let large = send(address, "", &[b'x'; 1025]).await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    let chunked = b"401\r\n".iter().copied().chain([b'x'; 1025]).chain(*b"\r\n0\r\n\r\n").collect::<Vec<_>>();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(&[&head[..], &chunked].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    // Two fit, with what each counts besides; the third is told to come again.
    let held: Vec<_> =
        (0..2).map(|_| tokio::spawn(async move { send(address, "", &[b'x'; 1024]).await })).collect();
    let mut taken = Vec::new();
    while taken.len() < 2 {
        taken.extend(listener.held.take(10, 1 << 20, LONG).await);
    }
    let third = send(address, "", &[b'x'; 1024]).await;
    assert!(third.starts_with("HTTP/1.1 503") && third.contains("retry-after: 1"), "{third}");
    for request in &taken {
        listener.held.answer(request.id, 200, String::new());
    }
    for sent in held {
        assert!(sent.await.unwrap().starts_with("HTTP/1.1 200"));
    }
    // What was answered has given its room back.
    let fourth = tokio::spawn(async move { send(address, "", &[b'x'; 1024]).await });
    let taken = listener.held.take(10, 1 << 20, LONG).await;
    listener.held.answer(taken[0].id, 204, String::new());
    assert!(fourth.await.unwrap().starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn an_end_and_a_long_wait_are_answered_with_come_again() {
    let (listener, address) = listen(json!({"timeout": "100ms"})).await;
    let late = send(address, "", b"{}").await;
    assert!(late.starts_with("HTTP/1.1 503") && late.contains("no answer in time"), "{late}");
    let taken = listener.held.take(10, 1 << 20, Duration::from_millis(50)).await;
    assert!(taken.is_empty(), "whoever was told to come again is not taken: {taken:?}");
    drop(listener);
    let (listener, address) = listen(json!({})).await;
    let sent = tokio::spawn(async move { send(address, "", b"{}").await });
    listener.held.take(10, 1 << 20, LONG).await;
    drop(listener);
    let ended = sent.await.unwrap();
    assert!(ended.starts_with("HTTP/1.1 503") && ended.contains("retry-after"), "{ended}");
    // The address is free again.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let target = Target { listen: address, ..target(json!({})) };
    let again = Listener::open("hooks", &target).await.unwrap_or_else(|error| panic!("{error:?}"));
    let Err(GuestError::Retriable(failure)) = Listener::open("hooks", &target).await else {
        panic!("two at one address")
    };
    assert_eq!(failure.code, "http-listener.in-use");
    drop(again);
}
