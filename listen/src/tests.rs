//! Connections beyond the limit wait; slow ones are closed; a stop ends them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMITS: Limits = Limits {
    connections: 1,
    connection_time: Duration::from_secs(60),
    header_time: Duration::from_millis(100),
    header_bytes: 16 << 10,
    farewell: Duration::ZERO,
};

async fn start(limits: Limits) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    tokio::spawn(serve(listener, limits, "test", stopped, |request| async move {
        plain(StatusCode::OK, request.uri().path().to_owned())
    }));
    (address, stop)
}

async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(path.as_bytes()) {
        let mut some = [0; 256];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..count]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn one_at_a_time_and_the_next_when_the_first_has_ended() {
    let (address, _stop) = start(Limits { header_time: Duration::from_secs(60), ..LIMITS }).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut first, "/first").await.starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(address).await.unwrap();
    let asked = tokio::spawn(async move { ask(&mut second, "/second").await });
    // The first is still served while the second waits.
    assert!(ask(&mut first, "/again").await.contains("text/plain"));
    assert!(!asked.is_finished());
    drop(first);
    assert!(asked.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_header_that_does_not_come_and_a_stop_close_the_connection() {
    let (address, stop) = start(LIMITS).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET / HT").await.unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    let (address, stop_other) = start(Limits { header_time: Duration::from_secs(60), ..LIMITS }).await;
    let mut open = TcpStream::connect(address).await.unwrap();
    ask(&mut open, "/x").await;
    drop((stop, stop_other));
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_answer_under_way_still_leaves_when_there_is_a_farewell() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (asked, mut asking) = tokio::sync::mpsc::channel::<()>(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    let stopped = async {
        let _ = stopped.await;
    };
    let limits = Limits { farewell: Duration::from_secs(60), header_time: Duration::from_secs(60), ..LIMITS };
    let served = tokio::spawn(serve(listener, limits, "test", stopped, move |request| {
        let (asked, released) = (asked.clone(), Arc::clone(&released));
        async move {
            let _ = asked.send(()).await;
            released.notified().await;
            plain(StatusCode::OK, request.uri().path().to_owned())
        }
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answered = tokio::spawn(async move { ask(&mut stream, "/late").await });
    asking.recv().await.unwrap();
    drop(stop);
    // Nobody else gets in while the answer is waited for.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!answered.is_finished());
    release.notify_one();
    assert!(answered.await.unwrap().contains("connection: close"));
    served.await.unwrap();
}
