//! Both sides of a connection; and a client made by hand, which sees each frame.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    frames::{FIN, Frame, SYN_REPLY, encode},
    headers::Packer,
    read::id,
    *,
};

/// The other side of a connection, for tests: opens streams and reads frames.
pub struct Client<I> {
    pub io: I,
    packer: Packer,
}

/// A frame as the client sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Reply(u32),
    Data(u32, bool, Vec<u8>),
    Other(u16),
}

impl<I: Io> Client<I> {
    pub fn new(io: I) -> Self {
        Self {
            io,
            packer: Packer::new().unwrap(),
        }
    }

    pub async fn open(&mut self, id: u32, headers: &[(&str, &str)]) {
        let headers = owned(headers);
        let mut out = BytesMut::new();
        encode(Frame::Open { id, headers }, &mut self.packer, &mut out).unwrap();
        self.io.write_all(&out).await.unwrap();
    }

    pub async fn send(&mut self, id: u32, data: &[u8], fin: bool) {
        let mut out = BytesMut::new();
        encode(
            Frame::Data {
                id,
                fin,
                data: Bytes::copy_from_slice(data),
            },
            &mut self.packer,
            &mut out,
        )
        .unwrap();
        self.io.write_all(&out).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<Seen> {
        let mut head = [0u8; 8];
        self.io.read_exact(&mut head).await.ok()?;
        let word = u32::from_be_bytes(head[..4].try_into().unwrap());
        let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
        self.io.read_exact(&mut body).await.ok()?;
        Some(match word >> 31 {
            0 => Seen::Data(word, head[4] & FIN != 0, body),
            _ if word as u16 == SYN_REPLY => Seen::Reply(id(&body)),
            _ => Seen::Other(word as u16),
        })
    }
}

fn owned(headers: &[(&str, &str)]) -> Headers {
    let headers = headers.iter();
    headers
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn both_sides_of_a_connection_understand_each_other() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut served = serve(far);
    let opener = Opener::new(near);
    for word in ["one", "two"] {
        let mut here = opener.open(owned(&[("streamtype", word)])).await.unwrap();
        let mut there = served.recv().await.unwrap();
        assert_eq!(
            (there.header("streamtype"), there.id),
            (Some(word), here.id)
        );
        here.out.send(Bytes::from_static(b"there")).await.unwrap();
        here.out.close().await.unwrap();
        assert_eq!(there.inbound.recv().await.unwrap(), "there");
        assert!(there.inbound.recv().await.is_none());
        // what is closed in one direction goes on in the other
        there.out.send(Bytes::from_static(b"back")).await.unwrap();
        assert_eq!(here.inbound.recv().await.unwrap(), "back");
        there.out.close().await.unwrap();
        assert!(here.inbound.recv().await.is_none());
    }
    // what was reset takes nothing more, and whoever waits for it learns so
    let here = opener.open(Headers::new()).await.unwrap();
    let there = served.recv().await.unwrap();
    here.out.close().await.unwrap();
    here.out.reset().await.unwrap();
    there.out.gone().await;
    there
        .out
        .send(Bytes::from_static(b"late"))
        .await
        .unwrap_err();
    let mut left = opener.open(Headers::new()).await.unwrap();
    drop((served, there));
    assert!(left.inbound.recv().await.is_none());
    let refused = async {
        while opener.open(Headers::new()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    crate::time::timeout(patience, refused).await.unwrap();
}

#[tokio::test]
async fn streams_open_carry_and_close() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut streams = serve(far);
    let mut client = Client::new(near);
    client
        .open(1, &[("streamtype", "data"), ("port", "80")])
        .await;
    client
        .open(3, &[("streamtype", "error"), ("port", "80")])
        .await;
    let mut first = streams.recv().await.unwrap();
    let second = streams.recv().await.unwrap();
    assert_eq!(
        (first.header("streamtype"), second.header("streamtype")),
        (Some("data"), Some("error"))
    );
    assert_eq!(
        [client.next().await, client.next().await],
        [Some(Seen::Reply(1)), Some(Seen::Reply(3))]
    );
    client.send(1, b"hello", false).await;
    client.send(1, b"", true).await;
    assert_eq!(first.inbound.recv().await.unwrap(), "hello");
    assert!(first.inbound.recv().await.is_none());
    first.out.send(Bytes::from_static(b"back")).await.unwrap();
    first.out.close().await.unwrap();
    assert_eq!(
        client.next().await,
        Some(Seen::Data(1, false, b"back".to_vec()))
    );
    assert_eq!(client.next().await, Some(Seen::Data(1, true, Vec::new())));
    drop(client);
    assert!(streams.recv().await.is_none());
}

#[tokio::test]
async fn a_frame_takes_the_memory_of_what_came_in_of_it() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut streams = serve(far);
    let mut client = Client::new(near);
    client.open(1, &[("streamtype", "stdin")]).await;
    let mut first = streams.recv().await.unwrap();
    // the frame says that 16 MiB come
    let begun = [0, 0, 0, 1, FIN, 0xff, 0xff, 0xff, b'h', b'i'];
    client.io.write_all(&begun).await.unwrap();
    let piece = first.inbound.recv().await.unwrap();
    assert_eq!(piece, "hi");
    // what ends in the middle of a frame is over
    drop(client);
    assert!(first.inbound.recv().await.is_none());
    assert!(streams.recv().await.is_none());
}
