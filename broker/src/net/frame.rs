//! Writing responses: chains of pieces, with as few system calls as the system allows.
//!
//! A Fetch response is a few small pieces of our own between record batches that lie in the log's cache, in read buffers
//! or still in their files: chaining them keeps the records uncopied from the log to the socket.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;

use bytes::Buf;
use millrace_log::Piece;
use tokio::io::AsyncWriteExt;

use super::transport::Transport;

/// Slices given to one write call; the system takes 1024 at most (`IOV_MAX`).
const SLICES_MAX: usize = 64;

/// Writes some of `parts` in one call and takes what was written off the queue. An empty queue is fine.
pub(crate) async fn write_some<S: Transport>(stream: &mut S, parts: &mut VecDeque<Piece>) -> io::Result<()> {
    while parts.front().is_some_and(Piece::is_empty) {
        parts.pop_front();
    }
    if let Some(Piece::File(slice)) = parts.front_mut() {
        return stream.send_some(slice).await;
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    for (slice, part) in slices.iter_mut().zip(parts.iter()) {
        let Piece::Memory(bytes) = part else { break };
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    let mut written = match &slices[..count] {
        [] => return Ok(()),
        [one] => stream.write(one).await?,
        many => stream.write_vectored(many).await?,
    };
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    while let Some(Piece::Memory(front)) = parts.front_mut() {
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
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn many_parts_arrive_in_order() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let bytes = || (0..200_u8).map(|n| vec![n; usize::from(n % 5)]);
        let mut parts: VecDeque<Piece> = bytes().map(|bytes| Bytes::from(bytes).into()).collect();
        let expected: Vec<u8> = bytes().flatten().collect();
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
