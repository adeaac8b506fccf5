//! Frames over an in-memory pipe, in hostile and in friendly pieces.

use proptest::prelude::*;
use tokio::io::duplex;
use tokio::runtime::{Builder, Runtime};

use super::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

async fn read_all(input: &[u8], max_bytes: usize) -> (Vec<Bytes>, Option<Error>) {
    let mut reader = FrameReader::new(input, max_bytes);
    let mut frames = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// A stream that gives out `chunk` bytes at a time.
struct Trickle<'a> {
    input: &'a [u8],
    chunk: usize,
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        out: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let len = self.chunk.min(self.input.len()).min(out.remaining());
        let (now, later) = self.input.split_at(len);
        out.put_slice(now);
        self.input = later;
        std::task::Poll::Ready(Ok(()))
    }
}

proptest! {
    #[test]
    fn frames_come_back_in_any_pieces(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        chunk in 1usize..400,
        pipe in 1usize..400,
    ) {
        let frames: Vec<_> = frames.into_iter().map(Bytes::from).collect();
        runtime().block_on(async {
            let (mut near, mut far) = duplex(pipe);
            let sent = frames.clone();
            let writing = async {
                // Each frame in two parts, to exercise the chain.
                let parts = |f: Bytes| [f.slice(..f.len() / 2), f.slice(f.len() / 2..)];
                write_frames(&mut near, sent.into_iter().map(|f| Frame::new(parts(f)))).await.unwrap();
                drop(near);
            };
            let mut wire = Vec::new();
            tokio::join!(writing, async { far.read_to_end(&mut wire).await.unwrap() });

            let mut reader = FrameReader::new(Trickle { input: &wire, chunk }, 1000);
            let mut one_by_one = Trickle { input: &wire, chunk };
            for frame in &frames {
                assert_eq!(&reader.next().await.unwrap().unwrap(), frame);
                assert_eq!(&read_frame(&mut one_by_one, 1000).await.unwrap().unwrap(), frame);
            }
            assert!(reader.next().await.unwrap().is_none());
            assert!(read_frame(&mut one_by_one, 1000).await.unwrap().is_none());
        });
    }

    #[test]
    fn arbitrary_bytes_never_panic(input: Vec<u8>) {
        runtime().block_on(read_all(&input, 1000));
    }
}

#[test]
fn lengths_are_checked() {
    let refuse = |input: &[u8]| {
        let (_, error) = runtime().block_on(read_all(input, 1000));
        let one = runtime().block_on(read_frame(&mut &input[..], 1000)).unwrap_err();
        let error = error.unwrap().to_string();
        assert_eq!(error, one.to_string());
        error
    };
    assert_eq!(
        refuse(&[0xff, 0xff, 0xff, 0xff, 1]),
        "frame length -1 is negative; the peer does not speak the Kafka protocol (is it TLS?)"
    );
    assert_eq!(
        refuse(&1001i32.to_be_bytes()),
        "frame of 1001 bytes is larger than the limit of 1000; raise the limit or send less at once"
    );
    assert_eq!(refuse(&[0, 0, 0]), "connection closed inside a frame");
    assert_eq!(refuse(&[0, 0, 0, 9, 1, 2]), "connection closed inside a frame");
}

#[test]
fn a_claimed_length_reserves_little() {
    let mut input = 90_000_000i32.to_be_bytes().to_vec();
    input.extend_from_slice(&[7; 1000]);
    let mut reader = FrameReader::new(Trickle { input: &input, chunk: 500 }, DEFAULT_MAX_BYTES);
    let error = runtime().block_on(reader.next()).unwrap_err();
    assert!(matches!(error, Error::Closed));
    assert!(reader.buffer.capacity() <= 4 * CHUNK, "{} bytes were reserved", reader.buffer.capacity());
}

#[test]
fn a_large_frame_arrives_whole() {
    let body = Bytes::from(vec![5; 10 << 20]);
    let wire: Vec<u8> = Frame::new([body.clone()]).parts.iter().flatten().copied().collect();
    let (frames, error) = runtime().block_on(read_all(&wire, DEFAULT_MAX_BYTES));
    assert!(error.is_none());
    assert_eq!(frames, [body]);
}
