//! The gRPC health check: one unary call, spoken over HTTP/2 by hand because it is two small messages.
//!
//! Follows `pkg/probe/grpc/grpc.go` and the protocol `grpc.health.v1`.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http::{NoConnection, connect, place};
use skiff_api::machinery::quote::GoQuoted;

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
}

/// Why there is no answer, as the probe's output says it.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("failed to connect service {target} within the timeout: {source}", target = GoQuoted(.target))]
    Connect {
        target: String,
        source: NoConnection,
    },
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error(transparent)]
    Exchange(#[from] hyper::Error),
    #[error("this server does not implement the grpc health protocol (grpc.health.v1.Health)")]
    Unimplemented,
    #[error("error: health rpc probe failed: code {0}")]
    Code(u32),
    #[error("error: health rpc probe failed: the answer has no grpc-status")]
    NoStatus,
}

/// Asks for the health of `service`.
pub async fn check(host: &str, port: u16, service: &str) -> Result<Health, Error> {
    let stream = connect(host, port).await.map_err(|source| Error::Connect {
        target: place(host, port),
        source,
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = skiff_watching::task::spawn(connection);
    let answer = call(&mut sender, host, port, service).await;
    driver.abort();
    answer
}

async fn call(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    host: &str,
    port: u16,
    service: &str,
) -> Result<Health, Error> {
    let request = Request::post(format!(
        "http://{}/grpc.health.v1.Health/Check",
        place(host, port)
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header("user-agent", "kube-probe/1.36")
    .body(Full::new(message(service)))?;
    let response = sender.send_request(request).await?;
    let status = |headers: &http::HeaderMap| {
        headers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok()?.parse::<u32>().ok())
    };
    let early = status(response.headers());
    let body = response.into_body().collect().await?;
    let code = early.or_else(|| body.trailers().and_then(status));
    match code {
        Some(0) => Ok(health(&body.to_bytes())),
        Some(12) => Err(Error::Unimplemented),
        Some(5) => Ok(Health::ServiceUnknown),
        Some(code) => Err(Error::Code(code)),
        None => Err(Error::NoStatus),
    }
}

/// `HealthCheckRequest { service }` with its length before it.
fn message(service: &str) -> Bytes {
    let mut inner = BytesMut::new();
    if !service.is_empty() {
        inner.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            inner.put_u8((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        inner.put_u8(length as u8);
        inner.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(inner.len() as u32);
    framed.put_slice(&inner);
    framed.freeze()
}

/// Field 1 of `HealthCheckResponse`.
fn health(body: &[u8]) -> Health {
    match body.get(5..) {
        Some([0x08, 1, ..]) => Health::Serving,
        Some([0x08, 2, ..]) => Health::NotServing,
        Some([0x08, 3, ..]) => Health::ServiceUnknown,
        _ => Health::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(health(&[0, 0, 0, 0, 2, 8, 1]), Health::Serving);
        assert_eq!(health(&[0, 0, 0, 0, 0]), Health::Unknown);
    }
}
