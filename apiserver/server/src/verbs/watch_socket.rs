//! A watch over a WebSocket, as browsers follow one: each event is a message of its own.
//!
//! Invariant: what is sent is what a plain watch sends, in the same order; nothing that the client sends is listened to but its going.
//! Follows `HandleWS` of `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/watch.go`.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use skiff_api::machinery::status::Status;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, handshake::derive_accept_key, protocol::Role},
};

use crate::{
    context::{Answer, Context},
    encoding::Encoding,
    subresources::connect::upgrade::{self, is_upgrade},
};

type Client = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a watch is asked for over a WebSocket.
pub fn is_asked_for(parts: &Parts) -> bool {
    let websocket = parts.headers.get(header::UPGRADE);
    let websocket =
        websocket.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    websocket && is_upgrade(&parts.headers)
}

/// Turns the answer to a watch into one that switches the connection, and sends what its body holds over that.
///
/// # Errors
/// A request that is no handshake, or more than one protocol that is asked for.
pub fn switched(ctx: &Context, parts: &mut Parts, watch: Response<Body>) -> Answer {
    let bad = |why: &str| Status::bad_request(why.to_string());
    let key = (parts.headers.get(header::SEC_WEBSOCKET_KEY))
        .ok_or_else(|| bad("the request has no Sec-WebSocket-Key"))?;
    let client = (parts.extensions.remove::<OnUpgrade>())
        .ok_or_else(|| bad("the connection cannot be upgraded"))?;
    let media_type = watch.headers().get(header::CONTENT_TYPE);
    let encoding = media_type
        .and_then(|value| Encoding::of_stream(value.to_str().ok()?))
        .ok_or_else(|| Status::internal("a watch in an unknown encoding"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accepted = derive_accept_key(key.as_bytes());
    let accepted = HeaderValue::from_str(&accepted).map_err(Status::internal)?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    if let Some(protocol) = parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL) {
        if protocol.as_bytes().contains(&b',') {
            return Err(bad("a watch speaks one protocol at the most"));
        }
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    upgrade::carry(ctx, async move {
        let client = TokioIo::new(client.await.map_err(tungstenite_io)?);
        let client = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
        told(client, watch.into_body(), encoding).await
    });
    Ok(response)
}

fn tungstenite_io(error: hyper::Error) -> tungstenite::Error {
    tungstenite::Error::Io(std::io::Error::other(error))
}

/// Sends events until there are no more, or until the client has gone.
async fn told(client: Client, body: Body, encoding: Encoding) -> Result<(), tungstenite::Error> {
    let (mut out, mut from) = client.split();
    let gone = async {
        // answers to pings are sent along with the next event
        while let Some(Ok(message)) = from.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    tokio::select! {
        () = gone => {}
        done = send(&mut out, body, encoding) => done?,
    }
    out.close().await
}

async fn send(
    out: &mut SplitSink<Client, Message>,
    body: Body,
    encoding: Encoding,
) -> Result<(), tungstenite::Error> {
    let mut pieces = body.into_data_stream();
    let mut held = BytesMut::new();
    while let Some(Ok(piece)) = pieces.next().await {
        held.extend_from_slice(&piece);
        while let Some(event) = encoding.next_event(&mut held) {
            out.feed(message(event, encoding)?).await?;
        }
        out.flush().await?;
    }
    Ok(())
}

fn message(event: Bytes, encoding: Encoding) -> Result<Message, tungstenite::Error> {
    Ok(match encoding.is_text() {
        true => Message::Text(event.try_into().map_err(tungstenite::Error::from)?),
        false => Message::Binary(event),
    })
}
