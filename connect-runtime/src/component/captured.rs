//! What a guest writes to its standard output and error: kept, bounded, so that a trap can be explained.
//!
//! A guest that panics prints why and then traps; the trap itself says only "unreachable". The newest
//! [`CAPTURED_BYTES_MAX`] bytes are kept; nothing reaches the host's own output.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

/// How much of a guest's output is kept.
pub(super) const CAPTURED_BYTES_MAX: usize = 16 << 10;
/// Longest part of it that goes into an error message.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// A guest's output; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<Mutex<VecDeque<u8>>>);

impl Captured {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock();
        let new = &bytes[bytes.len().saturating_sub(CAPTURED_BYTES_MAX)..];
        let over = (kept.len() + new.len()).saturating_sub(CAPTURED_BYTES_MAX);
        kept.drain(..over);
        kept.extend(new);
    }

    /// Forgets what was written: what comes next belongs to the next call.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// The reason for a trap in one line: from the last `panicked at` on, or else the last lines.
    pub(crate) fn reason(&self) -> Option<String> {
        let kept: Vec<u8> = self.0.lock().iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let text = text.rfind("panicked at").map_or(&*text, |start| &text[start..]);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("note: run with"));
        let mut line = lines.collect::<Vec<_>>().join(" ");
        if line.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
            line.push('…');
        }
        (!line.is_empty()).then_some(line)
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Captured {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

impl OutputStream for Captured {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(CAPTURED_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_finds_the_panic() {
        let captured = Captured::default();
        captured.push(&vec![b'x'; 3 * CAPTURED_BYTES_MAX]);
        captured.push(b"\nthread 'main' panicked at src/lib.rs:3:5:\nno such column: caf\xc3\xa9\nnote: run with `RUST_BACKTRACE=1`\n");
        assert_eq!(captured.0.lock().len(), CAPTURED_BYTES_MAX);
        assert_eq!(captured.reason().as_deref(), Some("panicked at src/lib.rs:3:5: no such column: café"));
        captured.clear();
        assert_eq!(captured.reason(), None);
    }
}
