//! Changes while requests go on: none of them notices.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_util::sync::DropGuard;

use super::lab::{LIMIT, Lab, backend, body_of, connect, connect2, full, get};
use skiff_ingress::endpoint::Protocol;

async fn named(name: usize) -> (SocketAddr, DropGuard) {
    backend(move |_| async move { Response::new(full(name.to_string())) }).await
}

#[tokio::test]
async fn connections_are_kept_through_a_reload() {
    let lab = Lab::start().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let counted = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(full("ok")))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    let mut sender = connect(lab.http).await;
    for _ in 0..20 {
        lab.lead(&[at], Protocol::Http1);
        sender.ready().await.unwrap();
        let answer = sender.send_request(get("/")).await.unwrap();
        assert_eq!(body_of(answer).await, "ok");
    }
    assert_eq!(
        accepted.load(Ordering::Relaxed),
        1,
        "one connection for all"
    );
}

#[tokio::test]
async fn an_open_request_goes_on_when_its_endpoint_is_not_listed_any_more() {
    let lab = Lab::start().await;
    let go = Arc::new(tokio::sync::Notify::new());
    let (waits, came) = (go.clone(), Arc::new(tokio::sync::Notify::new()));
    let arrived = came.clone();
    let (slow, _slow) = backend(move |_| {
        let (waits, arrived) = (waits.clone(), arrived.clone());
        async move {
            arrived.notify_one();
            waits.notified().await;
            Response::new(full("slow"))
        }
    })
    .await;
    let (other, _other) = named(1).await;
    lab.lead(&[slow], Protocol::Http1);
    let mut sender = connect(lab.http).await;
    let open =
        tokio::spawn(async move { body_of(sender.send_request(get("/")).await.unwrap()).await });
    tokio::time::timeout(LIMIT, came.notified()).await.unwrap();
    lab.lead(&[other], Protocol::Http1);
    for _ in 0..5 {
        assert_eq!(
            lab.ask(get("/")).await.1,
            "1",
            "no new request for the one that goes"
        );
    }
    go.notify_one();
    assert_eq!(open.await.unwrap(), "slow");
}

#[tokio::test]
async fn requests_are_shared_by_all_endpoints() {
    let lab = Lab::start().await;
    let (backends, _guards): (Vec<_>, Vec<_>) = futures::future::join_all((0..3).map(named))
        .await
        .into_iter()
        .unzip();
    let upstream = lab.lead(&backends, Protocol::Http1);
    let mut counts = [0; 3];
    let mut sender = connect(lab.http).await;
    for _ in 0..30 {
        sender.ready().await.unwrap();
        let body = sender
            .send_request(get("/"))
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        let name: usize = std::str::from_utf8(&body.to_bytes())
            .unwrap()
            .parse()
            .unwrap();
        counts[name] += 1;
    }
    assert!(
        counts.iter().all(|count| (8..=12).contains(count)),
        "{counts:?}"
    );
    // one that has open requests is not asked while others have none
    let busy = upstream.pick(&[]).unwrap();
    let open = skiff_ingress::endpoint::Open::new(busy.clone());
    for _ in 0..6 {
        assert_ne!(upstream.pick(&[]).unwrap().address, busy.address);
    }
    drop(open);
    assert_eq!(busy.open(), 0);
}

/// Every tenth of a second another set of endpoints, those that go end soon after: as a rolling update does it. `SOAK_SECONDS` says for how long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_come_and_go_and_no_request_fails() {
    let lab = Arc::new(Lab::start().await);
    let mut alive = vec![named(0).await, named(1).await];
    let addresses =
        |alive: &[(SocketAddr, DropGuard)]| alive.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    lab.lead(&addresses(&alive), Protocol::Http1);
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (lab, stop, done) = (lab.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let (mut one, mut two) = (connect(lab.http).await, connect2(lab.http).await);
                while !stop.load(Ordering::Relaxed) {
                    let answer = if client % 2 == 0 {
                        one.ready().await.unwrap();
                        one.send_request(get("/")).await
                    } else {
                        two.ready().await.unwrap();
                        let request = Request::get("http://h/")
                            .body(Full::<Bytes>::default())
                            .unwrap();
                        two.send_request(request).await
                    };
                    let answer = answer.unwrap();
                    let status = answer.status();
                    let body = body_of(answer).await;
                    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.map_or(4, |text| text.parse().unwrap());
    let begun = Instant::now();
    let mut round = 2;
    while begun.elapsed() < Duration::from_secs(seconds) {
        alive.push(named(round).await);
        let gone = alive.remove(0);
        lab.lead(&addresses(&alive), Protocol::Http1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(gone);
        round += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    eprintln!("{done:?} requests during {round} changes, none lost");
    assert!(done.load(Ordering::Relaxed) > 100, "{done:?} requests");
}
