//! Rules of gateways on the wire.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;

use skiff_ingress::{
    endpoint::Protocol,
    listeners::{Listener, Listeners, Match, Paths},
    table::HostMatch,
    treatment::{HeaderChanges, PathChange, Redirect, Shares, Target, Treatment},
    upstream::Upstream,
};

use super::lab::{Body, Lab, backend, body_of, connect2, full, get};

/// What came, as a backend saw it.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let host = request
        .headers()
        .get("host")
        .map(|host| host.to_str().unwrap().to_owned());
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
    let header = |name: &str| {
        let all = request.headers().get_all(name).into_iter();
        let all: Vec<_> = all
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        all.join(",")
    };
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let text = format!(
        "{path} {} {} {} {}",
        host.unwrap_or_default(),
        header("x-forwarded-host"),
        header("x-a"),
        header("x-b")
    );
    let mut response = Response::new(full(text));
    let headers = response.headers_mut();
    headers.insert("server", HeaderValue::from_static("secret"));
    response
}

fn every() -> Match {
    Match {
        paths: Paths::Prefix(String::new()),
        method: None,
        headers: Vec::new(),
        parameters: Vec::new(),
    }
}

fn send(upstream: &Arc<Upstream>, treatment: Treatment) -> Arc<Target> {
    Arc::new(Target::Send(
        Shares::new([(1, Some(upstream.clone()))]),
        treatment,
    ))
}

/// One listener for these hosts, whose one rule does this.
fn listen(lab: &Lab, hosts: &str, target: Arc<Target>) {
    let mut listener = Listener::new(HostMatch::parse(hosts));
    listener.add(HostMatch::parse(hosts), every(), target);
    let mut listeners = Listeners::default();
    listeners.add(lab.http.port(), listener);
    lab.proxy.listeners.store(Arc::new(listeners));
}

fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )
}

#[tokio::test]
async fn requests_and_answers_are_changed() {
    let lab = Lab::start().await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let (at, _stop) = backend(echo).await;
        let upstream = lab.lead(&[at], protocol);
        let treatment = Treatment {
            request: HeaderChanges {
                set: vec![pair("x-a", "new")],
                add: vec![pair("x-b", "2")],
                ..HeaderChanges::default()
            },
            response: HeaderChanges {
                set: vec![pair("x-by", "gateway")],
                remove: vec![HeaderName::from_static("server")],
                ..HeaderChanges::default()
            },
            host: Some("other.io".parse().unwrap()),
            path: Some(PathChange::Prefix {
                found: "/old".into(),
                with: "/new".into(),
            }),
            ..Treatment::default()
        };
        listen(&lab, "h.example", send(&upstream, treatment));
        let request = || {
            let request = Request::get("/old/x?q=1")
                .header("host", "h.example:8080")
                .header("x-a", "old")
                .header("x-b", "1");
            request.body(Full::<Bytes>::default()).unwrap()
        };
        let wanted = "/new/x?q=1 other.io h.example:8080 new 1,2";
        let (head, body) = lab.ask(request()).await;
        assert_eq!(body, wanted, "{protocol:?}");
        assert_eq!(head.headers["x-by"], "gateway");
        assert!(!head.headers.contains_key("server"));
        let mut sender = connect2(lab.http).await;
        let mut request = request();
        request.headers_mut().remove("host");
        *request.uri_mut() = "http://h.example:8080/old/x?q=1".parse().unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(body_of(answer).await, wanted, "{protocol:?} by HTTP/2");
    }
}

#[tokio::test]
async fn listeners_that_name_a_host_go_before_the_table_and_others_after() {
    let lab = Lab::start().await;
    let (table, _one) = backend(|_| async { Response::new(full("table")) }).await;
    let (gateway, _two) = backend(|_| async { Response::new(full("gateway")) }).await;
    let of_gateway = Arc::new(Upstream::new("g".into()));
    of_gateway.set(&[gateway], Protocol::Http1);
    let target = || send(&of_gateway, Treatment::default());
    // the table's rule is of any host
    lab.lead(&[table], Protocol::Http1);
    for (hosts, wanted) in [
        ("h.example", "gateway"),
        ("*.example", "gateway"),
        ("b.example", "table"),
        ("", "gateway"),
    ] {
        listen(&lab, hosts, target());
        assert_eq!(lab.ask(get("/")).await.1, wanted, "{hosts:?}");
    }
    // now the host has rules of its own
    let mut own = skiff_ingress::table::Table::default();
    let route = skiff_ingress::proxy::Route {
        to: {
            let upstream = Arc::new(Upstream::new("t".into()));
            upstream.set(&[table], Protocol::Http1);
            upstream
        },
        https_only: false,
        of: "n/i".into(),
    };
    let host = HostMatch::parse("h.example");
    own.add(host, skiff_ingress::table::PathMatch::prefix("/"), route);
    lab.proxy.routes.store(Arc::new(own));
    for (hosts, wanted) in [("h.example", "gateway"), ("", "table")] {
        listen(&lab, hosts, target());
        assert_eq!(lab.ask(get("/")).await.1, wanted, "{hosts:?}");
    }
    // what no rule of the listener is about goes nowhere else
    let mut listeners = Listeners::default();
    listeners.add(
        lab.http.port(),
        Listener::new(HostMatch::parse("h.example")),
    );
    lab.proxy.listeners.store(Arc::new(listeners));
    assert_eq!(lab.ask(get("/")).await.0.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn clients_are_sent_elsewhere_and_broken_rules_are_errors() {
    let lab = Lab::start().await;
    let redirect = Redirect {
        scheme: Some("https".into()),
        host: None,
        port: None,
        path: Some(PathChange::Whole("/there".into())),
        status: StatusCode::MOVED_PERMANENTLY,
    };
    listen(&lab, "", Arc::new(Target::Redirect(redirect)));
    let (head, _) = lab.ask(get("/here?q=1")).await;
    assert_eq!(head.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(head.headers["location"], "https://h.example/there?q=1");
    let nowhere = Target::Send(Shares::new([(1, None)]), Treatment::default());
    listen(&lab, "", Arc::new(nowhere));
    let (head, _) = lab.ask(get("/")).await;
    assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
    let idle = Arc::new(Upstream::new("idle".into()));
    listen(&lab, "", send(&idle, Treatment::default()));
    let (head, _) = lab.ask(get("/")).await;
    assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn time_is_limited() {
    let lab = Lab::start().await;
    let (silent, _one) = backend(|_| std::future::pending()).await;
    let upstream = lab.lead(&[silent], Protocol::Http1);
    let short = Some(Duration::from_millis(50));
    for treatment in [
        Treatment {
            limit: short,
            ..Treatment::default()
        },
        Treatment {
            patience: short,
            ..Treatment::default()
        },
    ] {
        listen(&lab, "", send(&upstream, treatment));
        let (head, _) = lab.ask(get("/")).await;
        assert_eq!(head.status, StatusCode::GATEWAY_TIMEOUT);
    }
    // an answer that has begun is broken off
    let (slow, _two) = backend(|_| async {
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"begun")))]);
        let frames = futures::StreamExt::chain(first, stream::pending());
        Response::new(StreamBody::new(frames).boxed())
    })
    .await;
    let upstream = lab.lead(&[slow], Protocol::Http1);
    let treatment = Treatment {
        limit: Some(Duration::from_millis(200)),
        ..Treatment::default()
    };
    listen(&lab, "", send(&upstream, treatment));
    let mut sender = super::lab::connect(lab.http).await;
    let answer = sender.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let broken = answer.into_body().collect().await;
    assert!(broken.is_err(), "{broken:?}");
}
