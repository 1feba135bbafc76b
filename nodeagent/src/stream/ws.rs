//! Channels through a WebSocket: the first byte of a message names the channel.
//!
//! Invariant: messages of the client that make no sense are passed over; the connection ends when one side closes it.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/httpstream/wsstream`.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::Io;
use crate::outcome;

/// How channels are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `v5.channel.k8s.io`: binary, and a channel can be closed by itself.
    BinaryWithClose,
    Binary,
    /// The channel is a digit, the content is base64.
    Base64,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    Data(u8, Bytes),
    /// The client will send no more on this channel.
    Close(u8),
}

const CLOSE: u8 = 255;
/// How long the other side may take to be told that the connection is over.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The two ends of a connection.
pub struct Channels {
    pub inbound: mpsc::Receiver<Inbound>,
    /// Dropping all of them closes the connection.
    pub outbound: mpsc::Sender<(u8, Bytes)>,
}

/// Serves the connection in a task of its own.
pub async fn serve(io: impl Io, framing: Framing) -> Channels {
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (sender, inbound) = mpsc::channel(64);
    let (outbound, outgoing) = mpsc::channel(64);
    skiff_watching::task::spawn(run(socket, framing, sender, outgoing));
    Channels { inbound, outbound }
}

async fn run(
    mut socket: WebSocketStream<impl Io>,
    framing: Framing,
    sender: mpsc::Sender<Inbound>,
    mut outgoing: mpsc::Receiver<(u8, Bytes)>,
) {
    let mut sender = Some(sender);
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) => {
                    if let (Some(received), Some(to)) = (decode(framing, &message), &sender)
                        && to.send(received).await.is_err() {
                            sender = None;
                        }
                }
                Some(Err(_)) | None => return,
            },
            frame = outgoing.recv() => match frame {
                Some((channel, data)) => {
                    if socket.send(encode(framing, channel, &data)).await.is_err() {
                        return;
                    }
                }
                None => break,
            },
        }
    }
    // Whatever goes wrong while closing, the connection is over.
    outcome::may_be_broken_off(socket.close(Some(normal())).await);
    crate::time::timeout(LAST_WORD, async {
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
}

/// Clients take a close without a code for a connection that broke off, and throw away what they had read.
fn normal() -> CloseFrame {
    CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }
}

fn decode(framing: Framing, message: &Message) -> Option<Inbound> {
    let data = match message {
        Message::Binary(data) => data.clone(),
        Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        _ => return None,
    };
    let (channel, content) = (*data.first()?, data.slice(1..));
    match framing {
        Framing::BinaryWithClose if channel == CLOSE => {
            content.first().map(|closed| Inbound::Close(*closed))
        }
        Framing::BinaryWithClose | Framing::Binary => Some(Inbound::Data(channel, content)),
        Framing::Base64 => Some(Inbound::Data(
            channel.checked_sub(b'0')?,
            BASE64_STANDARD.decode(&content).ok()?.into(),
        )),
    }
}

fn encode(framing: Framing, channel: u8, data: &[u8]) -> Message {
    match framing {
        Framing::BinaryWithClose | Framing::Binary => {
            let mut message = BytesMut::with_capacity(data.len() + 1);
            message.put_u8(channel);
            message.put_slice(data);
            Message::Binary(message.freeze())
        }
        Framing::Base64 => Message::Text(
            format!(
                "{}{}",
                char::from(b'0' + channel),
                BASE64_STANDARD.encode(data)
            )
            .into(),
        ),
    }
}

/// A WebSocket whose binary messages are but pieces of one byte stream, as SPDY through a WebSocket is; the server's side of it.
pub async fn tunnel(io: impl Io) -> DuplexStream {
    tunnelled(WebSocketStream::from_raw_socket(io, Role::Server, None).await)
}

/// The byte stream in the binary messages of a WebSocket.
pub fn tunnelled(socket: WebSocketStream<impl Io>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(256 * 1024);
    skiff_watching::task::spawn(async move {
        let (mut to, mut from) = socket.split();
        let (mut read, mut write) = tokio::io::split(far);
        // Each direction for itself: one that is not taken must not hold the other back.
        let inwards = async {
            while let Some(Ok(message)) = from.next().await {
                match message {
                    Message::Binary(data) if write.write_all(&data).await.is_err() => return,
                    Message::Close(_) => return,
                    _ => {}
                }
            }
        };
        let outwards = async {
            let mut buffer = vec![0; 32 * 1024];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..count]);
                if to.send(Message::Binary(data)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = inwards => {}
            () = outwards => {}
        }
        // Whatever goes wrong while closing, the connection is over.
        crate::time::timeout(LAST_WORD, to.send(Message::Close(Some(normal())))).await;
    });
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let message = encode(Framing::Base64, 1, b"hi");
        assert_eq!(message, Message::Text("1aGk=".into()));
        assert_eq!(
            decode(Framing::Base64, &Message::Text("0aGk=".into())),
            Some(Inbound::Data(0, Bytes::from_static(b"hi")))
        );
        assert_eq!(
            decode(
                Framing::BinaryWithClose,
                &Message::Binary(Bytes::from_static(&[255, 0]))
            ),
            Some(Inbound::Close(0))
        );
        assert_eq!(
            decode(
                Framing::Binary,
                &Message::Binary(Bytes::from_static(&[4, b'{']))
            ),
            Some(Inbound::Data(4, Bytes::from_static(b"{")))
        );
        assert_eq!(
            decode(Framing::Binary, &Message::Binary(Bytes::new())),
            None
        );
    }

    #[tokio::test]
    async fn both_directions() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let mut server = serve(far, Framing::BinaryWithClose).await;
        client
            .send(Message::Binary(Bytes::from_static(b"\0in")))
            .await
            .unwrap();
        assert_eq!(
            server.inbound.recv().await,
            Some(Inbound::Data(0, Bytes::from_static(b"in")))
        );
        server
            .outbound
            .send((1, Bytes::from_static(b"out")))
            .await
            .unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::Binary(Bytes::from_static(b"\x01out"))
        );
        drop(server);
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::Close(Some(normal()))
        );
    }
}
