//! A refusal is seen by whoever is still sending.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{ADMIN, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MUCH: usize = 8 * 1024 * 1024;

/// Method, path, token, type of the body, and the code that comes of it.
fn refusals() -> Vec<(&'static str, String, &'static str, &'static str, u16)> {
    vec![
        ("POST", MAPS.into(), "", "application/json", 403),
        ("POST", MAPS.into(), "nonsense", "application/json", 401),
        ("POST", MAPS.into(), "eve-token", "application/json", 403),
        (
            "POST",
            "/apis/nothing/v1/things".into(),
            ADMIN,
            "application/json",
            404,
        ),
        ("POST", "/nothing".into(), ADMIN, "application/json", 404),
        ("PUT", MAPS.into(), ADMIN, "application/json", 405),
        ("POST", MAPS.into(), ADMIN, "application/json", 413),
        ("POST", MAPS.into(), ADMIN, "text/html", 415),
        ("PATCH", format!("{MAPS}/m"), ADMIN, "application/json", 415),
        (
            "GET",
            format!("{MAPS}/absent"),
            ADMIN,
            "application/json",
            404,
        ),
    ]
}

/// Sends all of it before it looks for the answer, as simple clients do.
async fn write_then_read(server: &Server, head: &str, body: &[u8]) -> String {
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(64 * 1024) {
        // a client that cannot send looks for the reason
        if stream.write_all(piece).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    stream
        .read_exact(&mut answer)
        .await
        .unwrap_or_else(|error| panic!("no answer to {head}: {error}"));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http1() {
    let server = Server::start(&["eve"]).await;
    let body = vec![b' '; MUCH];
    let chunked: Vec<u8> = body
        .chunks(MUCH / 4)
        .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    for (method, path, token, kind, code) in refusals() {
        let start = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n"
        );
        for _ in 0..5 {
            let sized = write_then_read(
                &server,
                &format!("{start}content-length: {MUCH}\r\n\r\n"),
                &body,
            )
            .await;
            assert_eq!(
                sized,
                format!("HTTP/1.1 {code}"),
                "{method} {path} {token} {kind}"
            );
        }
        let pieces = write_then_read(
            &server,
            &format!("{start}transfer-encoding: chunked\r\n\r\n"),
            &chunked,
        )
        .await;
        assert_eq!(
            pieces,
            format!("HTTP/1.1 {code}"),
            "{method} {path} {token} {kind} in chunks"
        );
        // who waits for leave to send is refused at once
        if code != 413 {
            let asked = write_then_read(
                &server,
                &format!("{start}expect: 100-continue\r\ncontent-length: {MUCH}\r\n\r\n"),
                b"",
            )
            .await;
            assert_eq!(
                asked,
                format!("HTTP/1.1 {code}"),
                "{method} {path} {token} {kind} with Expect"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2() {
    let server = Server::start(&["eve"]).await;
    let body = Bytes::from(vec![b' '; MUCH]);
    for (method, path, token, kind, code) in refusals() {
        for _ in 0..3 {
            let stream = server.connect_as(&[b"h2"]).await;
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            let connection = tokio::spawn(connection);
            let mut request = Request::builder()
                .method(method)
                .uri(format!("https://localhost{path}"))
                .header("content-type", kind);
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = sender
                .send_request(request.body(Full::new(body.clone())).unwrap())
                .await;
            let response = response.unwrap_or_else(|error| {
                panic!("no answer to {method} {path} {token} {kind}: {error:?}")
            });
            assert_eq!(response.status(), code, "{method} {path} {token} {kind}");
            response.into_body().collect().await.unwrap();
            connection.abort();
        }
    }
}

/// By HTTP/2 nobody but the server itself keeps the body of such an answer back.
#[tokio::test]
async fn a_head_is_answered_without_a_body() {
    let server = Server::start(&[]).await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        for (path, code) in [
            ("/version", 405),
            ("/healthz", 200),
            ("/openapi/v2", 200),
            ("/api/v1/namespaces/default", 405),
            ("/nowhere", 404),
        ] {
            let got = server.get(ADMIN, path).await;
            let request = Request::builder()
                .method("HEAD")
                .uri(match protocol {
                    b"h2" => format!("https://localhost{path}"),
                    _ => path.to_string(),
                })
                .header("host", "localhost")
                .header("authorization", format!("Bearer {ADMIN}"))
                .body(Full::new(Bytes::new()))
                .unwrap();
            let io = TokioIo::new(server.connect_as(&[protocol]).await);
            let response = match protocol {
                b"h2" => {
                    use hyper::client::conn::http2::handshake;
                    let (mut sender, connection) =
                        handshake(TokioExecutor::new(), io).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                }
                _ => {
                    use hyper::client::conn::http1::handshake;
                    let (mut sender, connection) = handshake(io).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                }
            };
            let response =
                response.unwrap_or_else(|error| panic!("no answer to {path}: {error:?}"));
            assert_eq!(response.status(), code, "{path}");
            let (parts, body) = response.into_parts();
            let body = body.collect().await;
            let body = body.unwrap_or_else(|error| panic!("{path}: {error:?}"));
            assert!(body.to_bytes().is_empty(), "{path}");
            // of what is refused another answer is told than a GET has
            if code != 405 {
                let length = parts.headers.get("content-length");
                let length = length.and_then(|length| length.to_str().ok()).unwrap_or("");
                assert_eq!(length, got.bytes.len().to_string(), "{path}");
                assert_eq!(parts.headers["content-type"], got.header("content-type"));
            }
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let server = Server::start(&[]).await;
    let mut stream = server.connect().await;
    let body = json!({"metadata": {"name": "m"}}).to_string();
    for (token, code) in [("nonsense", 401), (ADMIN, 201)] {
        let request = format!(
            "POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        stream.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

/// A method that is not the verb's is refused, whatever the path says of the verb.
#[tokio::test]
async fn methods_that_are_no_verbs() {
    let server = Server::start(&[]).await;
    for path in [
        "/api/v1/watch/pods?timeoutSeconds=1",
        "/api/v1/watch/namespaces/default/pods/p?timeoutSeconds=1",
        "/api/v1/pods",
        "/version",
        "/openid/v1/jwks",
    ] {
        for method in ["HEAD", "TRACE", "PATCH", "POST", "FOO"] {
            server.send(ADMIN, method, path, &[], "").await.is(405);
        }
        server.get(ADMIN, path).await.is(200);
    }
    server
        .send(ADMIN, "HEAD", "/api/v1/namespaces/default", &[], "")
        .await
        .is(405);
    server
        .send(
            ADMIN,
            "HEAD",
            "/api/v1/namespaces/default/pods/p/log",
            &[],
            "",
        )
        .await
        .is(405);
    server
        .send(ADMIN, "HEAD", "/healthz", &[], "")
        .await
        .is(200);
}
