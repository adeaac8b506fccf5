//! A server that says what it is told to, whatever it is asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What it does with what it reads next.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers with these characters, each a byte.
    Is(String),
    /// Closes the socket.
    Close,
    /// Does nothing, for ever.
    Silence,
}

/// Starts it; it does the same for whoever comes. After the last reply it closes.
pub(super) async fn serve(replies: Vec<Reply>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let replies = replies.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                for reply in replies {
                    if !matches!(stream.read(&mut asked).await, Ok(1..)) {
                        return;
                    }
                    match reply {
                        Reply::Is(text) => {
                            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
                            let _ = stream.write_all(&bytes).await;
                        }
                        Reply::Close => return,
                        Reply::Silence => std::future::pending().await,
                    }
                }
            });
        }
    });
    port
}

/// A message of this tag; each byte as a character.
pub(super) fn message(tag: u8, body: &[u8]) -> String {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], length.as_slice(), body].concat().into_iter().map(char::from).collect()
}

pub(super) fn auth_ok() -> String {
    message(b'R', &[0, 0, 0, 0])
}

pub(super) fn ready() -> String {
    message(b'Z', b"I")
}

pub(super) fn error(severity: &str, code: &str, text: &str) -> String {
    message(b'E', format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0").as_bytes())
}
