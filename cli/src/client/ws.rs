//! WebSockets to the server: exec, attach and port-forward.
//! Invariant: that the server does not change the protocol is told in the server's words, and by an error of its own.
//! Behaviour follows `staging/src/k8s.io/client-go/transport/websocket` and `remotecommand/websocket.go`.

use super::Client;
use super::connect::Stream;
use crate::error::{Error, Result};
use http::Request;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

/// A WebSocket to the server.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

impl Client {
    /// Opens a WebSocket, speaking one of `protocols`.
    ///
    /// # Errors
    /// No connection, or the server's refusal.
    pub async fn websocket(&self, path: &str, protocols: &str) -> Result<Socket> {
        let target = &self.0.target;
        let fail = |cause: String| Error::Connection {
            verb: "Get".into(),
            url: target.url(path),
            cause,
        };
        let io = target.connect().await.map_err(|why| fail(why.into()))?;
        let scheme = if target.scheme == "https" {
            "wss"
        } else {
            "ws"
        };
        let mut request = Request::builder()
            .uri(format!(
                "{scheme}://{}{}{path}",
                target.authority, target.prefix
            ))
            .body(())
            .map_err(|e| Error::msg(e.to_string()))?;
        let headers = request.headers_mut();
        headers.extend(self.0.headers.clone());
        for (name, value) in [
            ("host", target.authority.as_str()),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", &generate_key()),
            ("sec-websocket-protocol", protocols),
        ] {
            headers.insert(
                http::HeaderName::from_bytes(name.as_bytes())
                    .map_err(|e| Error::msg(e.to_string()))?,
                super::header(value)?,
            );
        }
        use tokio_tungstenite::tungstenite::Error as Refusal;
        match tokio_tungstenite::client_async(request, io).await {
            Ok((socket, _)) => Ok(socket),
            Err(Refusal::Http(response)) => Err(Error::not_upgraded(
                response.body().as_deref().unwrap_or_default(),
            )),
            Err(why @ (Refusal::Io(_) | Refusal::Tls(_))) => {
                Err(fail(format!("unable to upgrade connection: {why}")))
            }
            Err(why) => Err(Error::Upgrade(why.to_string())),
        }
    }
}
