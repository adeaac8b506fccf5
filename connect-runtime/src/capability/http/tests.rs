//! Requests over connections to servers that mean well, and to such that don't.

pub(crate) mod server;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use self::server::{Reply, Server};
use super::address::Reach;
use super::client::Target;
use super::{Request, Response};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::connection::{Fault, Surroundings};
use crate::spec::ProcessEnvironment;

/// A target made of settings that fit their schema.
fn read(settings: Value) -> Result<Target, Vec<Fault>> {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    super::target(settings.as_object().unwrap(), &around)
}

fn target(settings: Value) -> Target {
    read(settings).unwrap()
}

fn get(url: impl Into<String>) -> Request {
    Request {
        method: "GET".into(),
        url: url.into(),
        relative_to: None,
        headers: Vec::new(),
        body: None,
        timeout_ms: 0,
        response_bytes_max: 0,
    }
}

async fn send(target: &Target, request: Request) -> Result<Response, String> {
    target.send("shop", request).await.map_err(|failed| match failed.0 {
        GuestError::Retriable(failure) => format!("retriable {}: {}", failure.code, failure.message),
        GuestError::Fatal(failure) => format!("fatal {}: {}", failure.code, failure.message),
    })
}

#[tokio::test]
async fn paths_are_put_behind_the_url_and_links_are_relative_to_where_they_were_found() {
    let server = Server::start(|seen| Reply::ok(seen.path())).await;
    let bare = target(json!({ "url": format!("{}/v1", server.url()) }));
    for (url, path) in [("", "/v1"), ("?x=1", "/v1?x=1"), ("orders", "/v1/orders")] {
        assert_eq!(send(&bare, get(url)).await.unwrap().body, path.as_bytes(), "{url}");
    }
    let target = target(json!({ "url": format!("{}/v1/", server.url()) }));
    for (url, path) in [
        ("/orders", "/v1/orders"),
        ("orders?x=1", "/v1/orders?x=1"),
        ("", "/v1/"),
        ("?x=1", "/v1/?x=1"),
        (&format!("{}/other", server.url()), "/other"),
    ] {
        let response = send(&target, get(url)).await.unwrap();
        assert_eq!((response.status, response.body), (200, path.as_bytes().to_vec()), "{url}");
    }
    let found = format!("{}/v1/orders?page=1", server.url());
    for (link, path) in [("?page=2", "/v1/orders?page=2"), ("/v2", "/v2"), ("next", "/v1/next")] {
        let request = Request { relative_to: Some(found.clone()), ..get(link) };
        assert_eq!(send(&target, request).await.unwrap().url, format!("{}{path}", server.url()));
    }
    assert_eq!(server.seen()[0].header("user-agent"), Some(concat!("millrace/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn any_status_is_an_answer_and_nobody_there_is_not() {
    let server = Server::start(|_| Reply::Is(503, "retry-after: 7\r\n".into(), "busy".into())).await;
    let answer = send(&target(json!({ "url": server.url() })), get("/")).await.unwrap();
    assert_eq!((answer.status, answer.body), (503, b"busy".to_vec()));
    assert!(answer.headers.contains(&("retry-after".into(), "7".into())));
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error =
        send(&target(json!({ "url": format!("http://{free}") })), get("/x?key=hunter2")).await.unwrap_err();
    assert!(
        error.starts_with(&format!("retriable http.connect: http://{free}/x can't be reached: ")),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn only_allowed_origins_are_reached() {
    let (inside, outside) =
        (Server::start(|_| Reply::ok("in")).await, Server::start(|_| Reply::ok("out")).await);
    let target = target(json!({ "url": outside.url() }));
    for url in [
        inside.url(),
        format!("https://127.0.0.1:{}", outside.port),
        format!("http://localhost:{}", outside.port),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let error = send(&target, get(url.clone())).await.unwrap_err();
        assert!(error.starts_with("fatal http.denied: a request goes to "), "{url}: {error}");
        assert!(error.contains("which connection shop does not allow"), "{error}");
    }
    for url in ["ftp://127.0.0.1/", "file:///etc/passwd", "//x", "http://u:p@127.0.0.1/"] {
        let request = Request { relative_to: Some(outside.url()), ..get(url) };
        let error = send(&target, request).await.unwrap_err();
        assert!(error.starts_with("fatal http."), "{url}: {error}");
    }
    assert!(inside.seen().is_empty() && outside.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    let server = Server::start(|_| Reply::ok("in")).await;
    // Stands for any name of the allow-list that resolves to loopback.
    let named = json!({ "url": format!("http://localhost:{}", server.port) });
    assert!(send(&target(named.clone()), get("/")).await.is_ok(), "localhost is meant when it is written");
    let strict = target(named).reaching(Reach::default());
    let error = send(&strict, get("/")).await.unwrap_err();
    assert!(error.starts_with("fatal http.denied: localhost is at "), "{error}");
    assert!(error.contains("a private address; say `private: true`"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn redirects_are_checked_hop_by_hop_and_lose_the_credentials() {
    let other = Server::start(|_| Reply::ok("other")).await;
    let to = other.url();
    let server = Server::start(move |seen| match seen.path() {
        "/away" => Reply::redirect(307, &to),
        "/inward" => Reply::redirect(302, "http://169.254.169.254/latest"),
        "/again" => Reply::redirect(302, "/again"),
        "/post" => Reply::redirect(302, "/landed"),
        "/keep" => Reply::redirect(308, "/landed"),
        "/other" => Reply::redirect(303, "/landed"),
        path => Reply::ok(path),
    })
    .await;
    let auth = json!({ "header": { "name": "X-Key", "value": "hunter2" } });
    let shut = target(json!({ "url": server.url(), "auth": auth }));
    for path in ["/away", "/inward"] {
        let error = send(&shut, get(path)).await.unwrap_err();
        assert!(error.starts_with("fatal http.denied: a redirect leads to http://1"), "{error}");
    }
    assert!(other.seen().is_empty());
    let error = send(&shut, get("/again")).await.unwrap_err();
    assert!(
        error.starts_with("fatal http.redirects: ") && error.contains("more than 5 redirects"),
        "{error}"
    );

    let open = target(json!({ "url": server.url(), "allow": [other.url()], "auth": auth }));
    let mut request = get("/away");
    request.headers = vec![("Authorization".into(), "mine".into()), ("X-Other".into(), "stays".into())];
    assert_eq!(send(&open, request).await.unwrap().body, b"other");
    let seen = &other.seen()[0];
    assert_eq!(
        (seen.header("x-key"), seen.header("authorization"), seen.header("x-other")),
        (None, None, Some("stays"))
    );
    let first = server.seen().into_iter().rfind(|seen| seen.path() == "/away").unwrap();
    assert_eq!((first.header("x-key"), first.header("authorization")), (Some("hunter2"), Some("mine")));

    let with = |method: &str, path: &str| Request {
        method: method.into(),
        body: Some(b"body".to_vec()),
        ..get(path)
    };
    // What would come of it is no answer to what was asked.
    for (method, path) in [("POST", "/post"), ("POST", "/other"), ("PUT", "/other"), ("DELETE", "/other")] {
        let answer = send(&open, with(method, path)).await.unwrap();
        assert!(matches!(answer.status, 302 | 303), "{method} {path}: {answer:?}");
        assert!(answer.headers.contains(&("location".into(), "/landed".into())), "{answer:?}");
    }
    for (method, path) in [("POST", "/keep"), ("PUT", "/post")] {
        send(&open, with(method, path)).await.unwrap();
    }
    assert_eq!(send(&open, get("/other")).await.unwrap().body, b"/landed");
    let landed: Vec<_> = server.seen().into_iter().filter(|seen| seen.path() == "/landed").collect();
    let told: Vec<_> = landed.iter().map(|seen| (seen.head.split(' ').next(), seen.body.as_str())).collect();
    assert_eq!(told, [(Some("POST"), "body"), (Some("PUT"), "body"), (Some("GET"), "")]);

    let none = target(json!({ "url": server.url(), "redirects": 0 }));
    assert_eq!(send(&none, get("/away")).await.unwrap().status, 307);
}

#[tokio::test]
async fn bodies_and_times_are_bounded() {
    let server = Server::start(|seen| match seen.path() {
        "/endless" => Reply::Endless,
        "/slow" => Reply::Slow,
        "/silent" => Reply::Silent,
        _ => Reply::ok("x".repeat(2000)),
    })
    .await;
    let target = target(json!({
        "url": server.url(), "timeout": "300ms", "request_max": "100B", "response_max": "1000B",
    }));
    for path in ["/endless", "/large"] {
        let error = send(&target, get(path)).await.unwrap_err();
        assert!(
            error.starts_with("fatal http.response-size: ") && error.contains("more than 1000 bytes"),
            "{error}"
        );
    }
    for path in ["/slow", "/silent"] {
        let error = send(&target, get(path)).await.unwrap_err();
        assert!(error.starts_with("retriable http.timeout: ") && error.contains("within 300ms"), "{error}");
    }
    let large = Request { body: Some(vec![0; 101]), ..get("/") };
    let error = send(&target, large).await.unwrap_err();
    assert!(error.starts_with("fatal http.request-size: "), "{error}");
    let few = Request { response_bytes_max: 10, ..get("/large") };
    assert!(send(&target, few).await.unwrap_err().contains("more than 10 bytes"));
}

#[tokio::test]
async fn headers_about_the_connection_are_not_the_guests() {
    let server = Server::start(|_| Reply::ok("")).await;
    let target = target(json!({ "url": server.url() }));
    for (name, value) in
        [("Host", "x"), ("transfer-encoding", "chunked"), ("a b", "x"), ("x", "a\r\nb: c"), ("", "x")]
    {
        let request = Request { headers: vec![(name.into(), value.into())], ..get("/") };
        let error = send(&target, request).await.unwrap_err();
        assert!(error.starts_with("fatal http.header: "), "{name}: {error}");
    }
    let many = Request { headers: vec![("x".into(), "y".into()); 101], ..get("/") };
    assert!(send(&target, many).await.is_err());
    for method in ["CONNECT", "a b", ""] {
        let request = Request { method: method.into(), ..get("/") };
        assert!(send(&target, request).await.unwrap_err().starts_with("fatal http.request: "), "{method}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn credentials_go_to_the_connections_origin_only() {
    let (server, other) = (Server::start(|_| Reply::ok("")).await, Server::start(|_| Reply::ok("")).await);
    for (auth, header) in [
        (
            json!({ "basic": { "user": "Aladdin", "password": "open sesame" } }),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (json!({ "bearer": "t0ken" }), "Bearer t0ken"),
    ] {
        let target = target(json!({ "url": server.url(), "allow": [other.url()], "auth": auth }));
        let forged = Request { headers: vec![("authorization".into(), "Bearer forged".into())], ..get("/") };
        send(&target, forged).await.unwrap();
        assert_eq!(server.seen().last().unwrap().header("authorization"), Some(header));
        send(&target, get(other.url())).await.unwrap();
        assert_eq!(other.seen().last().unwrap().header("authorization"), None);
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_used_and_renewed_when_it_is_refused() {
    let given = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&given);
    let login = Server::start(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        Reply::ok(format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":3600}}"#))
    })
    .await;
    let server = Server::start(|seen| match seen.header("authorization") {
        // The first token has been withdrawn.
        Some("Bearer t0") if seen.path() == "/later" => Reply::Is(401, String::new(), String::new()),
        Some(_) if seen.path() == "/never" => Reply::Is(401, String::new(), String::new()),
        Some(_) => Reply::ok(""),
        None => Reply::Is(400, String::new(), String::new()),
    })
    .await;
    let oauth2 = |client_auth: &str| {
        json!({
            "token_url": format!("{}/token", login.url()), "client_id": "id:1", "client_secret": "s&cret",
            "client_auth": client_auth, "scope": "a b",
        })
    };
    let target = target(json!({ "url": server.url(), "auth": { "oauth2": oauth2("basic") } }));
    let (one, two) = tokio::join!(send(&target, get("/")), send(&target, get("/")));
    assert_eq!((one.unwrap().status, two.unwrap().status), (200, 200));
    assert_eq!(given.load(Ordering::SeqCst), 1);
    let asked = &login.seen()[0];
    assert_eq!(asked.body, "grant_type=client_credentials&scope=a+b");
    assert_eq!(asked.header("authorization"), Some("Basic aWQlM0ExOnMlMjZjcmV0"), "id%3A1:s%26cret");
    assert_eq!(send(&target, get("/later")).await.unwrap().status, 200);
    assert_eq!(given.load(Ordering::SeqCst), 2);
    assert_eq!(send(&target, get("/never")).await.unwrap().status, 401, "asked again once, then told");
    let target = self::target(json!({ "url": server.url(), "auth": { "oauth2": oauth2("body") } }));
    send(&target, get("/")).await.unwrap();
    let asked = login.seen().pop().unwrap();
    assert_eq!(asked.body, "grant_type=client_credentials&scope=a+b&client_id=id%3A1&client_secret=s%26cret");
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn no_token_is_told_without_any_secret() {
    for (status, body, wanted) in [
        (401, r#"{"error":"invalid_client"}"#, "fatal http.token: "),
        (503, "hunter2", "retriable http.token: "),
        (200, r#"{"token":"hunter2"}"#, "fatal http.token: "),
        (200, r#"{"access_token":"hunter2","token_type":"mac"}"#, "fatal http.token: "),
    ] {
        let login = Server::start(move |_| Reply::Is(status, String::new(), body.into())).await;
        let oauth2 = json!({ "token_url": login.url(), "client_id": "id", "client_secret": "hunter2" });
        let target = target(json!({ "url": login.url(), "auth": { "oauth2": oauth2 } }));
        let error = send(&target, get("/")).await.unwrap_err();
        assert!(error.starts_with(wanted) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_taken_however_its_life_is_written() {
    for life in ["3599", r#""3599""#, "3599.5", "null", r#""soon""#, "-1", "1e300"] {
        let login = Server::start(move |_| {
            Reply::ok(format!(r#"{{"access_token":"t","token_type":null,"expires_in":{life}}}"#))
        })
        .await;
        let server = Server::start(|seen| Reply::ok(seen.header("authorization").unwrap_or_default())).await;
        let oauth2 = json!({ "token_url": login.url(), "client_id": "id", "client_secret": "s" });
        let target = target(json!({ "url": server.url(), "auth": { "oauth2": oauth2 } }));
        assert_eq!(send(&target, get("/")).await.unwrap().body, b"Bearer t", "{life}");
    }
}

#[tokio::test]
async fn credentials_that_a_server_repeats_are_not_told() {
    let server = Server::start(|seen| {
        let sent = seen.header("authorization").or(seen.header("x-key")).unwrap_or_default().to_owned();
        let status = if seen.path() == "/good" { 200 } else { 401 };
        Reply::Is(status, format!("x-echo: {sent}\r\n"), format!("{sent} and hunter2 are wrong"))
    })
    .await;
    for auth in [
        json!({ "bearer": "hunter2" }),
        json!({ "basic": { "user": "u", "password": "hunter2" } }),
        json!({ "header": { "name": "X-Key", "value": "hunter2" } }),
    ] {
        let target = target(json!({ "url": server.url(), "auth": auth }));
        let answer = format!("{:?}", send(&target, get("/")).await.unwrap());
        let body = send(&target, get("/")).await.unwrap().body;
        assert_eq!(String::from_utf8(body).unwrap(), "[hidden] and [hidden] are wrong");
        assert!(!answer.contains("hunter2") && answer.contains("[hidden]"), "{answer}");
        let good = send(&target, get("/good")).await.unwrap();
        assert!(
            String::from_utf8(good.body).unwrap().ends_with(" and hunter2 are wrong"),
            "data is as it is"
        );
    }
}

#[test]
fn settings_that_can_not_be_used_are_told_with_their_place() {
    let faults = |settings: Value| -> Vec<String> {
        read(settings).err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect()
    };
    let url = "https://api.example.com/v1";
    assert_eq!(faults(json!({ "url": url })), [""; 0]);
    for bad in ["api.example.com", "ftp://a", "https://u:p@a", "https://", "https://a/?x=1"] {
        assert_eq!(faults(json!({ "url": bad })), ["/url"], "{bad}");
    }
    assert_eq!(
        faults(json!({ "url": url, "allow": ["https://a", "*"], "timeout": "0s" })),
        ["/allow/1", "/timeout"]
    );
    assert_eq!(
        faults(json!({ "url": url, "request_max": "17MiB", "response_max": "65MiB" })),
        ["/request_max", "/response_max"]
    );
    assert_eq!(faults(json!({ "url": url, "ca": "not there.pem" })), ["/ca"]);
    let auth = |auth: Value| faults(json!({ "url": url, "auth": auth }));
    assert_eq!(auth(json!({ "basic": { "user": "a:b", "password": "" } })), ["/auth/basic/user"]);
    assert_eq!(auth(json!({ "bearer": "a\nb" })), ["/auth"]);
    assert_eq!(auth(json!({ "header": { "name": "a b", "value": "x" } })), ["/auth/header/name"]);
    let oauth2 = json!({ "token_url": "x", "client_id": "", "client_secret": "" });
    assert_eq!(auth(json!({ "oauth2": oauth2 })), ["/auth/oauth2/token_url"]);
}

#[tokio::test]
async fn of_several_requests_none_is_begun_late() {
    let server = Server::start(|seen| Reply::ok(seen.path())).await;
    let settings = json!({ "url": server.url() });
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    let kind = crate::connection::kind("http").unwrap();
    let connection =
        crate::connection::Connection::open("shop", kind, settings.as_object().unwrap().clone(), &around);
    let connection = Arc::new(connection.unwrap_or_else(|_| panic!("it fits")));
    let all = || (0..5).map(|n| get(format!("/{n}"))).collect::<Vec<_>>();
    let now = tokio::time::Instant::now;
    let answers = super::send_all(&connection, all(), 2, now() + super::BEGIN_TIME).await;
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().body).collect();
    assert_eq!(bodies, (0..5).map(|n| format!("/{n}").into_bytes()).collect::<Vec<_>>());
    let late = super::send_all(&connection, all(), 2, now()).await;
    let is_not_sent = |answer: &Result<Response, GuestError>| matches!(answer, Err(GuestError::Retriable(failure)) if failure.code == "http.not-sent");
    assert!(late.len() == 5 && late.iter().all(is_not_sent), "{late:?}");
    assert_eq!(server.seen().len(), 5);
}
