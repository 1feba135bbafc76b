//! SPDY to the server: inside a WebSocket where the server knows that, else by itself.
//! Invariant: a server that refuses the WebSocket is asked once more, so that the refusal that is told is the one of the plain upgrade.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/portforward/fallback_dialer.go` and `tunneling_dialer.go`.

use super::{Call, Client};
use crate::error::{Error, Result};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use skiff_api::machinery::quote::{GoQuoted, GoQuotedBytes};
use skiff_nodeagent::stream::spdy::Opener;
use skiff_nodeagent::stream::ws::tunnelled;

const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Says by `false` that SPDY shall not go through WebSockets.
const WEBSOCKETS: &str = "KUBECTL_PORT_FORWARD_WEBSOCKETS";
const SPDY: HeaderValue = HeaderValue::from_static("SPDY/3.1");

impl Client {
    /// Begins a connection of many streams that speaks `protocol`.
    ///
    /// # Errors
    /// No connection, or the server's refusal.
    pub async fn spdy(&self, path: &str, protocol: &str) -> Result<Opener> {
        if std::env::var(WEBSOCKETS).is_ok_and(|word| word.eq_ignore_ascii_case("false")) {
            return self.plain_spdy(path, protocol).await;
        }
        let tunnel = format!("SPDY/3.1+{protocol}");
        match self.websocket(path, &tunnel).await {
            Ok(socket) => Ok(Opener::new(tunnelled(socket))),
            Err(Error::Upgrade(_)) => self.plain_spdy(path, protocol).await,
            Err(other) => Err(other),
        }
    }

    async fn plain_spdy(&self, path: &str, protocol: &str) -> Result<Opener> {
        let call = Call {
            method: Method::POST,
            ..Call::get(path)
        };
        let mut request = self.request(&call)?;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, SPDY);
        headers.insert(PROTOCOL, super::header(protocol)?);
        let mut sender = self
            .raw_connection(None)
            .await
            .map_err(|why| self.failed(&call, why.into()))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|why| self.failed(&call, super::cause(&why)))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let body = self.collect(&call, response).await?;
            return Err(Error::not_upgraded(&body));
        }
        let spoken = response.headers().get(&PROTOCOL);
        if let Some(other) = spoken.filter(|spoken| spoken.as_bytes() != protocol.as_bytes()) {
            return Err(Error::msg(format!(
                "unable to negotiate protocol: client supports {protocol}, server returned {other}",
                protocol = GoQuoted(&protocol),
                other = GoQuotedBytes(other.as_bytes())
            )));
        }
        let io = hyper::upgrade::on(response).await;
        let io = io.map_err(|why| self.failed(&call, super::cause(&why)))?;
        Ok(Opener::new(TokioIo::new(io)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;
    use crate::kubeconfig::Resolved;
    use crate::kuberc::Policy;
    use skiff_nodeagent::stream::spdy;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn asked(listener: &TcpListener) -> (String, TcpStream) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap().to_lowercase(), stream)
    }

    /// A server from before SPDY went through WebSockets.
    #[tokio::test]
    async fn an_old_server_is_asked_in_the_old_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let resolved = Resolved {
            server: format!("http://{}", listener.local_addr().unwrap()),
            ..Default::default()
        };
        let old = async {
            let (head, mut stream) = asked(&listener).await;
            assert!(
                head.contains("sec-websocket-protocol: spdy/3.1+portforward.k8s.io"),
                "{head}"
            );
            let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(refusal).await.unwrap();
            let (head, mut stream) = asked(&listener).await;
            assert!(head.starts_with("post /there "), "{head}");
            assert!(head.contains("upgrade: spdy/3.1"), "{head}");
            let taken = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n";
            stream.write_all(taken).await.unwrap();
            let mut served = spdy::serve(stream);
            served
                .recv()
                .await
                .unwrap()
                .header("port")
                .map(str::to_owned)
        };
        let client = Client::new(&resolved, &Options::new(Policy::allow_all())).unwrap();
        let asks = async {
            let opener = client.spdy("/there", "portforward.k8s.io").await.unwrap();
            opener
                .open(vec![("port".into(), "80".into())])
                .await
                .unwrap();
            opener
        };
        let both = tokio::task::LocalSet::new();
        let (port, _opener) = both.run_until(async { tokio::join!(old, asks) }).await;
        assert_eq!(port.as_deref(), Some("80"));
    }

    #[tokio::test]
    async fn the_last_refusal_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let resolved = Resolved {
            server: format!("http://{}", listener.local_addr().unwrap()),
            ..Default::default()
        };
        let refuses = async {
            for body in ["first", r#"{"kind":"Status","message":"second"}"#] {
                let (_, mut stream) = asked(&listener).await;
                let length = body.len();
                let refusal =
                    format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(refusal.as_bytes()).await.unwrap();
            }
        };
        let client = Client::new(&resolved, &Options::new(Policy::allow_all())).unwrap();
        let both = tokio::task::LocalSet::new();
        let asks = client.spdy("/there", "portforward.k8s.io");
        let (told, ()) = both.run_until(async { tokio::join!(asks, refuses) }).await;
        let told = told.err().unwrap().to_string();
        assert_eq!(told, "unable to upgrade connection: second");
    }
}
