//! Writing responses: chains of byte strings, with as few system calls as the system allows.
//!
//! A Fetch response is a few small pieces of our own between record batches that lie in the log's cache or in read
//! buffers: chaining them keeps the records uncopied from the log to the socket.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Slices given to one write call; the system takes 1024 at most (`IOV_MAX`).
const SLICES_MAX: usize = 64;

/// Writes some of `parts` in one call and takes what was written off the queue. An empty queue is fine.
pub(crate) async fn write_some<W: AsyncWrite + Unpin>(
    stream: &mut W,
    parts: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while parts.front().is_some_and(Bytes::is_empty) {
        parts.pop_front();
    }
    if parts.is_empty() {
        return Ok(());
    }
    let mut written = if parts.len() == 1 {
        stream.write(&parts[0]).await?
    } else {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = parts.len().min(SLICES_MAX);
        for (slice, part) in slices.iter_mut().zip(parts.iter()) {
            *slice = IoSlice::new(part);
        }
        stream.write_vectored(&slices[..count]).await?
    };
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    while let Some(front) = parts.front_mut() {
        if written < front.len() {
            front.advance(written);
            break;
        }
        written -= front.len();
        parts.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn many_parts_arrive_in_order() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let mut parts: VecDeque<Bytes> =
            (0..200_u8).map(|n| Bytes::from(vec![n; usize::from(n % 5)])).collect();
        let expected: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all)
        });
        while !parts.is_empty() {
            write_some(&mut near, &mut parts).await.unwrap();
        }
        drop(near);
        assert_eq!(reading.await.unwrap().unwrap(), expected);
    }
}
