//! Backends that do not behave, clients that do not, and what is tried again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use skiff_ingress::{
    endpoint::{CONNECT, PAUSES, Pauses, Protocol},
    proxy::Proxy,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::lab::{self, LIMIT, Lab, backend, full, get, nobody, says};

fn impatient() -> Proxy {
    Proxy {
        patience: Duration::from_millis(300),
        ..Proxy::new(None)
    }
}

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A proxy that remembers for long who could not be reached, and who was silent.
fn remembering(refused: Duration, silent: Duration) -> Proxy {
    let pauses = Pauses { refused, silent };
    Proxy {
        pauses,
        ..Proxy::new(None)
    }
}

#[tokio::test]
async fn backends() {
    static HUGE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        format!(
            "HTTP/1.1 200 OK\r\nX-Huge: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(1 << 20)
        )
    });
    let lab = Lab::with(impatient()).await;
    #[rustfmt::skip]
    let rows = [
        ("refuses", nobody().await, 502),
        ("hangs", says(b"", false).await, 504),
        ("hangs within the head", says(b"HTTP/1.1 200 OK\r\nContent-Le", false).await, 504),
        ("closes without a word", says(b"", true).await, 502),
        ("closes within the head", says(b"HTTP/1.1 200 OK\r\nContent-Le", true).await, 502),
        ("talks nonsense", says(b"hello, who are you?\r\n\r\n", false).await, 502),
        ("has a bad status", says(b"HTTP/1.1 xyz OK\r\n\r\n", false).await, 502),
        ("has a bad length", says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", true).await, 502),
        ("has two lengths", says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", true).await, 502),
        ("has a huge head", says(HUGE.as_bytes(), true).await, 502),
        ("changes though nobody asked", says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", true).await, 502),
        ("says that it goes on first", says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false).await, 200),
        ("has no length and closes", says(b"HTTP/1.1 200 OK\r\n\r\nok", true).await, 200),
        ("speaks HTTP/1.0", says(b"HTTP/1.0 200 OK\r\n\r\nok", true).await, 200),
    ];
    for (what, at, wanted) in rows {
        lab.lead(&[at], Protocol::Http1);
        let (head, body) = lab.ask(get("/")).await;
        assert_eq!(head.status.as_u16(), wanted, "{what}: {body}");
        let wanted = if wanted == 200 {
            "ok".to_owned()
        } else {
            format!("{wanted} ")
        };
        assert!(body.starts_with(&wanted), "{what}: {body}");
    }
    let (at, _guard) = backend(|_| async { Response::new(full("h1 or h2")) }).await;
    lab.lead(&[at], Protocol::Https);
    assert_eq!(lab.ask(get("/")).await.0.status, 502, "no TLS there");
    lab.lead(
        &[says(b"HTTP/1.1 200 OK\r\n\r\n", true).await],
        Protocol::H2c,
    );
    assert_eq!(lab.ask(get("/")).await.0.status, 502, "no HTTP/2 there");
    lab.lead(&[], Protocol::Http1);
    assert_eq!(lab.ask(get("/")).await.0.status, 503);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let lab = Lab::start().await;
    for text in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        lab.lead(&[says(text, true).await], Protocol::Http1);
        let mut sender = lab::connect(lab.http).await;
        let answer = sender.send_request(get("/")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = http_body_util::BodyExt::collect(answer.into_body()).await;
        assert!(body.is_err(), "{}", String::from_utf8_lossy(text));
    }
}

#[tokio::test]
async fn clients() {
    let lab = Lab::with(impatient()).await;
    let (at, _guard) = backend(|request| async move {
        match http_body_util::BodyExt::collect(request.into_body()).await {
            Ok(body) => Response::new(full(body.to_bytes())),
            Err(_) => Response::new(full("broken")),
        }
    })
    .await;
    lab.lead(&[at], Protocol::Http1);
    for (text, wanted) in [
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        (
            "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 405 ",
        ),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        (
            "GET http://h/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 404 ",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhel",
            "HTTP/1.1 408 ",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 ",
        ),
    ] {
        let said = lab.raw(text).await;
        assert!(said.starts_with(wanted), "{text:?}: {said}");
    }
    let many = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut stream = tokio::net::TcpStream::connect(lab.http).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    // it may close before it has read all
    let _ = stream.write_all(many.as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    assert!(
        said.is_empty() || said.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// A refusal is seen by who still sends.
#[tokio::test]
async fn who_is_refused_hears_why() {
    let lab = Lab::start().await;
    lab.lead(&[], Protocol::Http1);
    for _ in 0..10 {
        let mut sender = lab::connect(lab.http).await;
        for _ in 0..2 {
            sender.ready().await.unwrap();
            let body = Full::new(Bytes::from(vec![7; 900 << 10]));
            let request = Request::post("/").header("host", "h").body(body).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), 503);
        }
    }
}

/// What becomes of a request when the first endpoint fails, and how often it comes to one that counts.
#[tokio::test]
async fn what_is_tried_again() {
    let lab = Lab::start().await;
    let refuses = nobody().await;
    let closes = says(b"", true).await;
    let nonsense = says(b"nonsense\r\n\r\n", true).await;
    #[rustfmt::skip]
    let rows = [
        ("refused: always", refuses, Method::GET, "", 200),
        ("refused: with a body, as nothing of it was sent", refuses, Method::POST, "body", 200),
        ("closed: nothing to lose", closes, Method::GET, "", 200),
        ("closed: may be repeated, and has no body", closes, Method::DELETE, "", 200),
        ("closed: may have been done", closes, Method::POST, "", 502),
        ("closed: its body is gone", closes, Method::PUT, "body", 502),
        ("an answer, though nonsense", nonsense, Method::GET, "", 502),
    ];
    for (what, first, method, body, wanted) in rows {
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        let (good, _guard) = backend(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Response::new(full("ok")) }
        })
        .await;
        // whichever is first in the round, the bad one is among the first two
        let mut statuses = Vec::new();
        for _ in 0..4 {
            lab.lead(&[], Protocol::Http1);
            lab.lead(&[first, good], Protocol::Http1);
            let request = Request::builder()
                .method(method.clone())
                .uri("/")
                .header("host", "h");
            let (head, _) = lab
                .ask(request.body(Full::new(Bytes::from(body))).unwrap())
                .await;
            statuses.push(head.status.as_u16());
        }
        assert!(statuses.contains(&wanted), "{what}: {statuses:?}");
        assert!(
            statuses.iter().all(|s| *s == wanted || *s == 200),
            "{what}: {statuses:?}"
        );
        let answered = statuses.iter().filter(|s| **s == 200).count();
        assert_eq!(
            came.load(Ordering::Relaxed),
            answered,
            "{what}: none came twice"
        );
    }
}

#[tokio::test]
async fn who_was_not_reached_comes_last_for_a_while() {
    let lab = Lab::with(remembering(FOR_EVER, Duration::ZERO)).await;
    let (good, _guard) = backend(|_| async { Response::new(full("ok")) }).await;
    let bad = nobody().await;
    let upstream = lab.lead(&[bad, good], Protocol::Http1);
    for _ in 0..2 {
        assert_eq!(lab.ask(get("/")).await.0.status, StatusCode::OK);
    }
    for _ in 0..6 {
        assert_eq!(upstream.pick(&[]).unwrap().address, good);
    }
    assert!(PAUSES.refused < PAUSES.silent && PAUSES.silent < LIMIT);
}

/// A listener whose queue of connections is full, so that the kernel leaves all who knock unanswered, as long as those are held that are in it.
async fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut held = Vec::new();
    let knock = || tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at));
    while let Ok(connected) = knock().await {
        held.push(connected.unwrap());
    }
    (listener, held)
}

/// An endpoint whose machine says nothing at all.
#[tokio::test]
async fn who_is_silent_is_given_up_soon_and_comes_last_for_longer() {
    let lab = Lab::with(remembering(Duration::ZERO, FOR_EVER)).await;
    let (good, _guard) = backend(|_| async { Response::new(full("ok")) }).await;
    let (listener, _held) = full_queue().await;
    let silent = listener.local_addr().unwrap();
    let upstream = lab.lead(&[silent, good], Protocol::Http1);
    let begun = Instant::now();
    for _ in 0..2 {
        assert_eq!(lab.ask(get("/")).await.0.status, StatusCode::OK);
    }
    assert!(begun.elapsed() >= CONNECT, "nobody was at the silent one");
    assert!(begun.elapsed() < 2 * CONNECT, "{:?}", begun.elapsed());
    for _ in 0..6 {
        assert_eq!(upstream.pick(&[]).unwrap().address, good);
    }
}

/// One that could not take connections for a moment is not taken for silent.
#[tokio::test]
async fn a_queue_that_is_full_for_a_moment() {
    let lab = Lab::with(remembering(Duration::ZERO, FOR_EVER)).await;
    let (listener, held) = full_queue().await;
    let at = listener.local_addr().unwrap();
    let upstream = lab.lead(&[at], Protocol::Http1);
    let begun = Instant::now();
    let serve = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        drop(held);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(full("ok")))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    };
    let (head, body) = tokio::select! {
        answer = lab.ask(get("/")) => answer,
        () = serve => unreachable!("it serves until the end"),
    };
    assert_eq!((head.status, body.as_str()), (StatusCode::OK, "ok"));
    assert!(begun.elapsed() < CONNECT, "{:?}", begun.elapsed());
    let endpoint = upstream.pick(&[]).unwrap();
    lab::until("it is not avoided as a silent one", || {
        !endpoint.is_avoided()
    })
    .await;
}

/// A program that reads nothing for long: its machine says so, and is alive.
#[tokio::test]
async fn who_reads_nothing_for_long_is_not_given_up() {
    const LARGE: usize = 10 << 20;
    let lab = Lab::start().await;
    let (at, _guard) = backend(|request| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        let length = body.map(|body| body.to_bytes().len());
        Response::new(full(format!("{length:?}")))
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        lab.lead(&[at], protocol);
        let body = Full::new(Bytes::from(vec![7; LARGE]));
        let request = Request::post("/").header("host", "h").body(body).unwrap();
        let (head, body) = lab.ask(request).await;
        let wanted = format!("Ok({LARGE})");
        assert_eq!(
            (head.status, body),
            (StatusCode::OK, wanted),
            "{protocol:?}"
        );
    }
}

/// From now on its machine takes nothing more and acknowledges nothing, as one that is cut off.
fn cut_off(stream: &TcpStream) {
    use nix::libc;
    use std::os::fd::AsRawFd;
    // a filter that lets no byte of any packet through
    let mut nothing = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let filter = libc::sock_fprog {
        len: 1,
        filter: &raw mut nothing,
    };
    // SAFETY: the kernel copies the filter, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// A machine that is cut off while a connection to it is kept: what may be repeated is answered by another one, soon.
#[tokio::test]
async fn who_falls_silent_is_given_up_soon() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let lab = Lab::with(remembering(Duration::ZERO, FOR_EVER)).await;
        let (good, _guard) = backend(|_| async { Response::new(full("good")) }).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            // the same socket once more, for later
            let again = stream.into_std().unwrap();
            let stream = TcpStream::from_std(again.try_clone().unwrap()).unwrap();
            tell.send(TcpStream::from_std(again).unwrap()).unwrap();
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(full("silent")))
            });
            let http =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            // it ends with the test
            let _ = http
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        });
        let upstream = lab.lead(&[silent], protocol);
        assert_eq!(lab.ask(get("/")).await.1, "silent");
        cut_off(&told.await.unwrap());
        upstream.set(&[silent, good], protocol);
        let begun = Instant::now();
        for _ in 0..2 {
            assert_eq!(lab.ask(get("/")).await.1, "good", "{protocol:?}");
        }
        let took = begun.elapsed();
        let soon = Duration::from_secs(1)..Duration::from_secs(10);
        assert!(soon.contains(&took), "{protocol:?}: {took:?}");
        for _ in 0..6 {
            assert_eq!(upstream.pick(&[]).unwrap().address, good, "{protocol:?}");
        }
    }
}
