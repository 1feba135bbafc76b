//! What goes through unharmed, and what is changed on the way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use rustls::pki_types::ServerName;
use skiff_ingress::{access::AccessLog, endpoint::Protocol, proxy::Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;

use super::lab::{LIMIT, Lab, backend, body_of, connect, connect2, full, get, says};

/// Answers with what came: the first line and the headers, sorted.
async fn echo(request: Request<hyper::body::Incoming>) -> Response<super::lab::Body> {
    let (head, body) = request.into_parts();
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    let text = format!(
        "{} {} {:?}\n{}\n{body}",
        head.method,
        head.uri,
        head.version,
        lines.join("\n")
    );
    let answer = Response::builder()
        .status(201)
        .header("x-kept", "yes")
        .header("connection", "x-named, keep-alive")
        .header("x-named", "no")
        .header("keep-alive", "timeout=5")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2");
    answer.body(full(text)).unwrap()
}

#[tokio::test]
async fn heads() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(echo).await;
    lab.lead(&[at], Protocol::Http1);
    let request = Request::post("/p%20q//r?x=1&y=%2F")
        .header("Host", "H.example:8080")
        .header("Connection", "close, X-Mine")
        .header("X-Mine", "gone")
        .header("Keep-Alive", "1")
        .header("Proxy-Authorization", "secret")
        .header("TE", "gzip, trailers")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Real-IP", "6.6.6.6")
        .header("X-Other", "stays")
        .header("Expect", "100-continue")
        .header("Upgrade", "h2c")
        .body(Full::new(Bytes::from("hello")))
        .unwrap();
    let (head, body) = lab.ask(request).await;
    let port = lab.http.port();
    let wanted = format!(
        "POST /p%20q//r?x=1&y=%2F HTTP/1.1\ncontent-length: 5\nhost: H.example:8080\nte: trailers\nx-forwarded-for: 127.0.0.1\n\
         x-forwarded-host: H.example:8080\nx-forwarded-port: {port}\nx-forwarded-proto: http\nx-other: stays\nx-real-ip: 127.0.0.1\nhello"
    );
    assert_eq!(body, wanted);
    assert_eq!(head.status, 201);
    assert_eq!(head.headers.get("x-kept").unwrap(), "yes");
    assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
    for gone in ["x-named", "keep-alive", "transfer-encoding"] {
        assert!(!head.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn from_and_to_http2() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(echo).await;
    for (protocol, version, host) in [
        (Protocol::Http1, "HTTP/1.1", "host: h.example\n"),
        (Protocol::H2c, "HTTP/2.0", ""),
    ] {
        lab.lead(&[at], protocol);
        let mut sender = connect2(lab.http).await;
        let request = Request::get("http://h.example/x")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 201);
        let body = body_of(answer).await;
        let body = String::from_utf8(body.into()).unwrap();
        assert!(
            body.contains(version) && body.contains(host) && body.contains("te: trailers"),
            "{body}"
        );
        let one = protocol == Protocol::H2c || body.contains("cookie: a=1; b=2\n");
        assert!(one, "{body}");
        // and from HTTP/1.1
        let (_, body) = lab.ask(get("/y")).await;
        assert!(
            body.contains(version) && body.contains("x-forwarded-host: h.example:8080"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn heads_without_bodies() {
    let lab = Lab::start().await;
    let whole = says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false).await;
    let head = says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false).await;
    let same = says(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", false).await;
    let none = says(b"HTTP/1.1 204 No Content\r\nETag: x\r\n\r\n", false).await;
    let mut sender = connect(lab.http).await;
    // one connection for all: what is left of one answer would break the next
    for (method, at, status, length, body) in [
        ("HEAD", head, 200, Some("5"), ""),
        ("GET", whole, 200, Some("5"), "hello"),
        ("GET", same, 304, None, ""),
        ("DELETE", none, 204, None, ""),
        ("GET", whole, 200, Some("5"), "hello"),
    ] {
        lab.lead(&[at], Protocol::Http1);
        sender.ready().await.unwrap();
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "h");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let found = answer.headers().get("content-length");
        assert_eq!(
            found.map(|v| v.to_str().unwrap()),
            length,
            "{method} {status}"
        );
        assert_eq!(answer.status(), status);
        let said = body_of(answer).await;
        assert_eq!(said, body);
    }
}

#[tokio::test]
async fn whoever_expects_to_go_on_is_told_to() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(echo).await;
    lab.lead(&[at], Protocol::Http1);
    let mut stream = TcpStream::connect(lab.http).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 25];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 201") && rest.ends_with("hello"),
        "{rest}"
    );
}

/// A call as gRPC makes it: messages in both directions, the status in trailers.
#[tokio::test]
async fn trailers() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(|request: Request<hyper::body::Incoming>| async move {
        let sent = request.into_body().collect().await.unwrap();
        let asked = sent.trailers().and_then(|t| t.get("x-sum")).cloned();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-asked", asked.unwrap_or(HeaderValue::from_static("-")));
        let frames = [
            Ok(Frame::data(sent.to_bytes())),
            Ok(Frame::trailers(trailers)),
        ];
        let body = BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)));
        Response::builder()
            .header("content-type", "application/grpc")
            .header("trailer", "grpc-status, x-asked")
            .body(body)
            .unwrap()
    })
    .await;
    for (protocol, asked) in [(Protocol::H2c, "7"), (Protocol::Http1, "7")] {
        lab.lead(&[at], protocol);
        let mut sender = connect2(lab.http).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let frames: [Result<_, std::io::Error>; 2] = [
            Ok(Frame::data(Bytes::from("message"))),
            Ok(Frame::trailers(trailers)),
        ];
        let request = Request::post("http://h/pkg.Service/Call")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .header("content-type", "application/grpc");
        let request = request
            .body(StreamBody::new(futures::stream::iter(frames)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0", "{protocol:?}");
        assert_eq!(trailers.get("x-asked").unwrap(), asked, "{protocol:?}");
        assert_eq!(body.to_bytes(), "message");
    }
}

/// Each message is answered before the next one is sent.
#[tokio::test]
async fn a_stream_in_both_directions_at_once() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(|request: Request<hyper::body::Incoming>| async move {
        Response::new(BodyExt::boxed(request.into_body()))
    })
    .await;
    lab.lead(&[at], Protocol::H2c);
    let mut sender = connect2(lab.http).await;
    let (tell, told) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(told));
    let answer = sender.send_request(Request::post("http://h/").body(body).unwrap());
    tell.send(Ok(Frame::data("0".into()))).await.unwrap();
    let mut answer = answer.await.unwrap().into_body();
    for number in 1..20 {
        let frame = tokio::time::timeout(LIMIT, answer.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), (number - 1).to_string());
        tell.send(Ok(Frame::data(number.to_string().into())))
            .await
            .unwrap();
    }
    drop(tell);
    answer.collect().await.unwrap();
}

#[tokio::test]
async fn websockets() {
    let lab = Lab::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_text() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let upstream = lab.lead(&[at], Protocol::Http1);
    let stream = TcpStream::connect(lab.http).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async("ws://h.example/chat", stream)
        .await
        .unwrap();
    assert_eq!(answer.status(), 101);
    for number in 0..50 {
        // a reload in the middle
        lab.lead(&[at], Protocol::Http1);
        socket
            .send(Message::text(format!("{number}")))
            .await
            .unwrap();
        let message = tokio::time::timeout(LIMIT, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(message.into_text().unwrap().as_str(), number.to_string());
    }
    let endpoint = upstream.pick(&[]).unwrap();
    assert_eq!(endpoint.open(), 1, "it counts while it is open");
    socket.close(None).await.unwrap();
    drop(socket);
    super::lab::until("the tunnel ends", || endpoint.open() == 0).await;
    // whoever refuses says so in HTTP
    let (plain, _guard) =
        backend(|_| async { Response::builder().status(403).body(full("no")).unwrap() }).await;
    lab.lead(&[plain], Protocol::Http1);
    let stream = TcpStream::connect(lab.http).await.unwrap();
    let refused = tokio_tungstenite::client_async("ws://h.example/chat", stream)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
}

const LARGE: u64 = 100 << 20;

/// How much of it is in memory is bounded by what the sockets and windows hold: the backend stands still, and so does the client.
#[tokio::test]
async fn large_bodies_pass_piece_by_piece() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(|request: Request<hyper::body::Incoming>| async move {
        if request.method() == http::Method::POST {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(frame) = body.frame().await {
                total += frame
                    .unwrap()
                    .into_data()
                    .map_or(0, |data| data.len() as u64);
            }
            return Response::new(full(total.to_string()));
        }
        let piece = Bytes::from(vec![7; 1 << 16]);
        let pieces =
            futures::stream::iter((0..LARGE >> 16).map(move |_| Ok(Frame::data(piece.clone()))));
        Response::new(BodyExt::boxed(StreamBody::new(pieces)))
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        lab.lead(&[at], protocol);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let piece = Bytes::from(vec![7; 1 << 16]);
        let pieces = futures::stream::iter((0..LARGE >> 16).map(move |_| {
            counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Frame::data(piece.clone()))
        }));
        let mut sender = connect(lab.http).await;
        let request = Request::post("/")
            .header("host", "h")
            .body(StreamBody::new(pieces))
            .unwrap();
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), &mut answer)
                .await
                .is_err()
        );
        let ahead = sent.load(Ordering::Relaxed);
        assert!(
            ahead < 40 << 20,
            "{ahead} bytes were taken that nobody read"
        );
        let body = body_of(answer.await.unwrap()).await;
        assert_eq!(body, LARGE.to_string());

        let mut sender = connect(lab.http).await;
        let mut body = sender.send_request(get("/")).await.unwrap().into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame
                .unwrap()
                .into_data()
                .map_or(0, |data| data.len() as u64);
        }
        assert_eq!(total, LARGE);
    }
}

#[tokio::test]
async fn clients_that_come_by_tls() {
    let lab = Lab::start().await;
    let (at, _guard) = backend(echo).await;
    lab.lead(&[at], Protocol::Http1);
    for (protocols, wanted) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let mut config = skiff_watching::tls::client(None)
            .unwrap()
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(lab.https).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol().unwrap(), wanted.as_bytes());
        assert_eq!(session.peer_certificates().unwrap()[0], lab.certificate);
        let io = hyper_util::rt::TokioIo::new(stream);
        let request = Request::get("https://a.example/")
            .header("host", "a.example")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = if wanted == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let body = body_of(answer).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains("x-forwarded-proto: https"), "{body}");
    }
}

#[tokio::test]
async fn a_backend_that_wants_tls() {
    let front = Lab::start().await;
    // a proxy is a server with TLS, whose certificate nobody signed
    let behind = Lab::start().await;
    let (at, _guard) = backend(echo).await;
    behind.lead(&[at], Protocol::Http1);
    for protocol in [Protocol::Https, Protocol::H2] {
        front.lead(&[behind.https], protocol);
        for _ in 0..2 {
            let (head, body) = front.ask(get("/x")).await;
            assert_eq!(head.status, 201, "{body}");
            assert!(
                body.contains("GET /x") && body.contains("x-forwarded-proto: https"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn one_line_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/access.log");
    let log = AccessLog::new(skiff_watching::clock::Clock::system());
    let stop = tokio_util::sync::CancellationToken::new();
    let writing = tokio::spawn(log.clone().run(path.clone(), stop.clone()));
    let lab = Lab::with(Proxy::new(Some(log))).await;
    let (at, _guard) = backend(echo).await;
    lab.lead(&[at], Protocol::Http1);
    let request = Request::get("/a?b=1")
        .header("host", "h")
        .header("user-agent", "x\" \\ \u{e4}")
        .header("referer", "r");
    let (_, body) = lab.ask(request.body(Full::default()).unwrap()).await;
    lab.lead(&[], Protocol::Http1);
    lab.ask(get("/none")).await;
    stop.cancel();
    writing.await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let wanted = format!(
        "\"GET /a?b=1 HTTP/1.1\" 201 {} \"r\" \"x\\x22 \\x5C \\xC3\\xA4\" \"h\" {at} ",
        body.len()
    );
    assert!(
        lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains(&wanted),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("\"GET /none HTTP/1.1\" 503 25 \"-\" \"-\" \"h.example:8080\" - 0."),
        "{}",
        lines[1]
    );
}
