//! A lean HTTP/1.1 client over TLS: one connection, one request at a time, so that what is measured is the server.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;

pub struct Client {
    send: SendRequest<Full<Bytes>>,
    token: String,
}

impl Client {
    pub async fn connect(port: u16, token: &str) -> anyhow::Result<Client> {
        // the server under measurement is on loopback and was started a moment ago
        let config = skiff_watching::tls::client(None)?.with_no_client_auth();
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("127.0.0.1")?, tcp)
            .await?;
        let (send, connection) = handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Client {
            send,
            token: token.into(),
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        // what is read is wanted as this
        let accept = if method == Method::GET { media } else { "*/*" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {}", self.token));
        Ok(request
            .header("content-type", media)
            .header("accept", accept)
            .header("user-agent", "bench")
            .body(Full::new(body))?)
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        media: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(u16, Bytes)> {
        let request = self.request(method, path, media, body.into())?;
        self.send.ready().await?;
        let response = self.send.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<(u16, Bytes)> {
        self.get_as(path, "application/json").await
    }

    /// GET in an encoding.
    pub async fn get_as(&mut self, path: &str, media: &str) -> anyhow::Result<(u16, Bytes)> {
        self.send(Method::GET, path, media, Bytes::new()).await
    }

    /// POST; an error unless it was created.
    pub async fn create(&mut self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<()> {
        let (status, answer) = self
            .send(Method::POST, path, "application/json", body)
            .await?;
        anyhow::ensure!(
            status == 201,
            "{path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }

    /// The answer of a GET as it comes.
    pub async fn stream(&mut self, path: &str) -> anyhow::Result<hyper::body::Incoming> {
        let request = self.request(Method::GET, path, "application/json", Bytes::new())?;
        Ok(self.send.send_request(request).await?.into_body())
    }
}
