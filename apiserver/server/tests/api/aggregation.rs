//! API servers behind this one: their groups are answered by them, in the name of whoever asks; one that is down takes its own group along alone.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use skiff_server::{
    InProcess,
    auth::{
        User,
        pki::{Authority, Facts, San, tls},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::server::{Answer, Server};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const GROUP: &str = "/apis/fish.example.com/v1";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What a request brought along.
#[derive(Clone, Debug, Default)]
struct Seen {
    line: String,
    user: String,
    groups: Vec<String>,
    extra: String,
    authorization: bool,
    certificate: String,
}

/// An API server that believes front proxies of this authority alone.
struct Aquarium {
    port: u16,
    ca: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Aquarium {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Aquarium {
    /// Opens as the servers' ConfigMap says.
    async fn open(server: &Server) -> Aquarium {
        let map = server
            .get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
            .await
            .is(200)
            .json();
        assert_eq!(
            map["data"]["requestheader-allowed-names"],
            r#"["front-proxy-client"]"#
        );
        let front = map["data"]["requestheader-client-ca-file"]
            .as_str()
            .unwrap()
            .as_bytes();
        let clock = skiff_api::machinery::clock::system();
        let (authority, _) = Authority::generate(clock).unwrap();
        let name = San::Dns("fish.default.svc".into());
        let serving = authority.serving("fish", &[], &[name]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(tls::roots(front).unwrap()),
            provider.clone(),
        );
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                tls::certificates(serving.certificate.as_bytes()).unwrap(),
                tls::private_key(&serving).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, seen) = (acceptor.clone(), seen.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let chain = stream.get_ref().1.peer_certificates().unwrap();
                        let certificate = Facts::read(&chain[0]).unwrap().common_name;
                        let serve = service_fn(move |request| {
                            note(&seen, &certificate, &request);
                            let answer = answer(&request);
                            async move { Ok::<_, Infallible>(answer) }
                        });
                        let served = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), serve);
                        drop(served.await);
                    });
                }
            }
        });
        Aquarium {
            port,
            ca: STANDARD.encode(authority.certificate_pem()),
            seen,
            task,
        }
    }

    /// Has a group's version registered, served by this one.
    async fn register(&self, server: &Server) {
        external_service(server, "fish").await;
        let mut service = api_service("fish", self.port);
        service["spec"]["caBundle"] = self.ca.as_str().into();
        server.make(SERVICES, &service).await;
        available(server, "v1.fish.example.com", "True Passed").await;
    }

    fn last(&self) -> Seen {
        self.seen.lock().last().cloned().unwrap()
    }
}

fn note(seen: &Mutex<Vec<Seen>>, certificate: &str, request: &Request<Incoming>) {
    let headers = request.headers();
    let text = |name: &str| {
        headers.get(name).map_or(String::new(), |value| {
            value.to_str().unwrap_or_default().to_owned()
        })
    };
    let groups = headers.get_all("x-remote-group").iter();
    seen.lock().push(Seen {
        line: format!("{} {}", request.method(), request.uri()),
        user: text("x-remote-user"),
        groups: groups
            .map(|value| value.to_str().unwrap().to_owned())
            .collect(),
        extra: text("x-remote-extra-example.com%2fscope"),
        authorization: headers.contains_key("authorization"),
        certificate: certificate.to_owned(),
    });
}

fn answer(request: &Request<Incoming>) -> Response<Body> {
    let document = |value: Value| {
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from(value.to_string()))
            .unwrap()
    };
    let fish = |name: &str| json!({"kind": "Fish", "apiVersion": "fish.example.com/v1", "metadata": {"name": name}});
    let path = request.uri().path();
    let watches = request.uri().query() == Some("watch=true");
    match path {
        "/apis" => {
            let mut answer = document(
                json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
                {"metadata": {"name": "fish.example.com"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                    {"resource": "fishes", "responseKind": {"group": "", "version": "", "kind": "Fish"}, "scope": "Namespaced", "singularResource": "fish",
                        "verbs": ["list", "watch"]}]}]}]}),
            );
            let kind = AGGREGATED.parse().unwrap();
            answer.headers_mut().insert("content-type", kind);
            answer
        }
        GROUP => document(
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "fish.example.com/v1", "resources": [
            {"name": "fishes", "singularName": "fish", "namespaced": true, "kind": "Fish", "verbs": ["list", "watch"]}]}),
        ),
        "/apis/fish.example.com/v1/fishes" if watches => {
            let event = |name: &str| {
                Bytes::from(json!({"type": "ADDED", "object": fish(name)}).to_string() + "\n")
            };
            let first = futures::stream::iter([Ok::<_, Infallible>(event("nemo"))]);
            // the second comes never: whoever waits for all of it waits for ever
            Response::new(Body::from_stream(first.chain(futures::stream::pending())))
        }
        "/apis/fish.example.com/v1/fishes" => document(
            json!({"kind": "FishList", "apiVersion": "fish.example.com/v1", "metadata": {}, "items": [fish("nemo")]}),
        ),
        "/apis/fish.example.com/v1/elsewhere" => Response::builder()
            .status(302)
            .header("location", "https://example.com/")
            .body(Body::empty())
            .unwrap(),
        "/openapi/v3" => document(
            json!({"paths": {"apis/fish.example.com/v1": {"serverRelativeURL": "/openapi/v3/apis/fish.example.com/v1?hash=A"}}}),
        ),
        "/openapi/v3/apis/fish.example.com/v1" => {
            document(json!({"openapi": "3.0.0", "info": {"title": "fish"}}))
        }
        "/openapi/v2" => document(json!({"swagger": "2.0", "paths": {
            "/apis/fish.example.com/v1/fishes": {"get": {"responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/com.example.fish.v1.Fish"}}}}},
            "/version": {}},
            "definitions": {"com.example.fish.v1.Fish": {"type": "object"}, "unused": {}}})),
        _ => Response::builder().status(404).body(Body::empty()).unwrap(),
    }
}

async fn external_service(server: &Server, name: &str) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "ExternalName", "externalName": "localhost"}});
    server
        .make("/api/v1/namespaces/default/services", &service)
        .await;
}

fn api_service(name: &str, port: u16) -> Value {
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1.{name}.example.com")},
        "spec": {"group": format!("{name}.example.com"), "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 15,
            "service": {"name": name, "namespace": "default", "port": port}}})
}

/// Waits until the condition of an APIService is such, and gives its message.
async fn available(server: &Server, name: &str, wanted: &str) -> String {
    let condition = |answer: &Answer| answer.json()["status"]["conditions"][0].clone();
    let of = |condition: &Value| {
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("status"), text("reason"))
    };
    let answer = server
        .until(&format!("{SERVICES}/{name}"), |answer| {
            of(&condition(answer)) == wanted
        })
        .await;
    condition(&answer)["message"].as_str().unwrap().to_owned()
}

/// The names of the groups, and one of them, of the aggregated document.
async fn aggregated(server: &Server, name: &str) -> (Vec<String>, Value) {
    let answer = server
        .send("GET", "/apis", &[("accept", AGGREGATED)], "")
        .await
        .is(200)
        .json();
    let items = answer["items"].as_array().unwrap();
    let of = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    let found = items.iter().find(|item| of(item) == name);
    (
        items.iter().map(of).collect(),
        found.cloned().unwrap_or(Value::Null),
    )
}

async fn listed(server: &Server) -> Vec<String> {
    let groups = server.get("/apis").await.is(200).json();
    let groups = groups["groups"].as_array().unwrap().iter();
    groups
        .map(|group| group["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_group_is_answered_by_its_server() {
    let server = Server::start().await;
    server.get(GROUP).await.is(404);
    let aquarium = Aquarium::open(&server).await;
    aquarium.register(&server).await;

    let resources = server.get(GROUP).await.is(200).json();
    assert_eq!(resources["resources"][0]["kind"], "Fish");
    let headers = [
        ("authorization", "Bearer secret"),
        ("x-remote-user", "somebody-else"),
        ("x-remote-extra-example.com%2fscope", "all"),
    ];
    let path = format!("{GROUP}/fishes?limit=5");
    let list = server.send("GET", &path, &headers, "").await.is(200).json();
    assert_eq!(list["items"][0]["metadata"]["name"], "nemo");
    let seen = aquarium.last();
    assert_eq!(
        (seen.line.as_str(), seen.user.as_str(), seen.extra.as_str()),
        ("GET /apis/fish.example.com/v1/fishes?limit=5", "admin", "")
    );
    assert_eq!(seen.groups, ["system:masters", "system:authenticated"]);
    assert_eq!(
        (seen.authorization, seen.certificate.as_str()),
        (false, "front-proxy-client")
    );
    assert_eq!(
        server.get(&format!("{GROUP}/nothing")).await.code,
        404,
        "its errors are its own"
    );
    let redirected = server.get(&format!("{GROUP}/elsewhere")).await.is(502);
    assert_eq!(
        redirected.text(),
        "the backend attempted to redirect this request, which is not permitted"
    );
}

#[tokio::test]
async fn who_may_not_is_refused_here() {
    let server = Server::start().await;
    let aquarium = Aquarium::open(&server).await;
    aquarium.register(&server).await;
    let asked = aquarium.seen.lock().len();
    let mut request = Request::get(format!("{GROUP}/fishes"))
        .body(Body::empty())
        .unwrap();
    let nobody = User::new("nobody", &["system:authenticated"]);
    request.extensions_mut().insert(InProcess(Arc::new(nobody)));
    let answer = server.app.clone().handle(request).await.unwrap();
    assert_eq!(answer.status(), 403);
    let fishes = |seen: &Seen| seen.line.contains("/fishes");
    assert!(!aquarium.seen.lock()[asked..].iter().any(fishes));
}

#[tokio::test]
async fn a_watch_is_passed_on_as_it_comes() {
    let server = Server::start().await;
    let aquarium = Aquarium::open(&server).await;
    aquarium.register(&server).await;
    let mut request = Request::get(format!("{GROUP}/fishes?watch=true"))
        .body(Body::empty())
        .unwrap();
    let admin = User::new("admin", &["system:masters"]);
    request.extensions_mut().insert(InProcess(Arc::new(admin)));
    let answer = server.app.clone().handle(request).await.unwrap();
    let mut pieces = answer.into_body().into_data_stream();
    let first = tokio::time::timeout(Duration::from_secs(10), pieces.next()).await;
    let event: Value = serde_json::from_slice(&first.unwrap().unwrap().unwrap()).unwrap();
    assert_eq!(event["object"]["metadata"]["name"], "nemo");
}

#[tokio::test]
async fn discovery_and_openapi_tell_of_it_and_forget_it() {
    let server = Server::start().await;
    let own = server.get("/openapi/v2").await.json();
    let aquarium = Aquarium::open(&server).await;
    aquarium.register(&server).await;

    let groups = listed(&server).await;
    assert_eq!(groups.last().unwrap(), "fish.example.com");
    let group = server.get("/apis/fish.example.com").await.is(200).json();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, group) = aggregated(&server, "fish.example.com").await;
    assert_eq!(group["versions"][0]["freshness"], "Current");
    assert_eq!(group["versions"][0]["resources"][0]["resource"], "fishes");
    let paths = server.get("/").await.json()["paths"].clone();
    assert!(paths.as_array().unwrap().contains(&GROUP.into()));

    let index = server.get("/openapi/v3").await.json()["paths"].clone();
    let at = &index["apis/fish.example.com/v1"]["serverRelativeURL"];
    assert_eq!(at, "/openapi/v3/apis/fish.example.com/v1?hash=A");
    let document = server.get(at.as_str().unwrap()).await.is(200).json();
    assert_eq!(document["info"]["title"], "fish");
    let merged = server.get("/openapi/v2").await.json();
    assert!(merged["paths"]["/apis/fish.example.com/v1/fishes"].is_object());
    let definitions = merged["definitions"].as_object().unwrap();
    assert!(definitions.contains_key("com.example.fish.v1.Fish"));
    assert!(!definitions.contains_key("unused"));

    let path = format!("{SERVICES}/v1.fish.example.com");
    server.send("DELETE", &path, &[], "").await.is(200);
    server.until_gone(GROUP).await;
    assert!(!listed(&server).await.contains(&"fish.example.com".into()));
    assert_eq!(aggregated(&server, "fish.example.com").await.1, Value::Null);
    assert_eq!(server.get("/openapi/v2").await.json(), own);
}

#[tokio::test]
async fn a_server_that_is_down_takes_its_own_group_along_alone() {
    let server = Server::start().await;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    external_service(&server, "deep").await;
    let mut deep = api_service("deep", port);
    deep["spec"]["insecureSkipTLSVerify"] = true.into();
    let made = server.make(SERVICES, &deep).await;
    assert_eq!(made.warnings, Vec::<String>::new());
    let why = available(&server, "v1.deep.example.com", "False FailedDiscoveryCheck").await;
    let url = format!("https://localhost:{port}/apis/deep.example.com/v1");
    assert!(
        why.starts_with(&format!(
            "failing or missing response from {url}: Get \"{url}\": dial tcp "
        )) && why.ends_with(": connect: connection refused"),
        "{why}"
    );
    let answer = server.get("/apis/deep.example.com/v1").await.is(503);
    assert_eq!(answer.text(), "service unavailable\n");
    let answer = server.get("/apis/deep.example.com/v1/things").await.is(503);
    assert_eq!(answer.text(), "service unavailable\n");
    let (groups, deep) = aggregated(&server, "deep.example.com").await;
    assert_eq!(
        deep["versions"],
        json!([{"version": "v1", "freshness": "Stale"}])
    );
    assert_eq!(groups.len(), listed(&server).await.len());
    let (_, apps) = aggregated(&server, "apps").await;
    assert_eq!(apps["versions"][0]["freshness"], "Current");
    server.get("/apis/apps/v1/deployments").await.is(200);
    server.get("/openapi/v2").await.is(200);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_believed() {
    let server = Server::start().await;
    let aquarium = Aquarium::open(&server).await;
    external_service(&server, "fish").await;
    let clock = skiff_api::machinery::clock::system();
    let (other, _) = Authority::generate(clock).unwrap();
    let mut service = api_service("fish", aquarium.port);
    service["spec"]["caBundle"] = STANDARD.encode(other.certificate_pem()).into();
    server.make(SERVICES, &service).await;
    let why = available(&server, "v1.fish.example.com", "False FailedDiscoveryCheck").await;
    assert!(
        why.ends_with(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        ),
        "{why}"
    );
    assert!(aquarium.seen.lock().is_empty());
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let server = Server::start().await;
    let mut service = api_service("sea", 443);
    service["spec"]["insecureSkipTLSVerify"] = true.into();
    server.make(SERVICES, &service).await;
    let name = "v1.sea.example.com";
    let told = available(&server, name, "False ServiceNotFound").await;
    assert_eq!(told, "service/sea in \"default\" is not present");
    let backend = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sea"}, "spec": {"ports": [{"name": "web", "port": 443}]}});
    server
        .make("/api/v1/namespaces/default/services", &backend)
        .await;
    let told = available(&server, name, "False EndpointsNotFound").await;
    assert_eq!(
        told,
        "cannot find endpointslices for service/sea in \"default\""
    );
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "sea", "labels": {"kubernetes.io/service-name": "sea"}}, "ports": [{"name": "web", "port": 443}],
        "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": false}}]});
    server
        .make(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
        )
        .await;
    let told = available(&server, name, "False MissingEndpoints").await;
    assert_eq!(
        told,
        "endpointslices for service/sea in \"default\" have no addresses with port name \"web\""
    );
}

/// Of what is served here there are APIServices, too; they say in which order groups stand.
#[tokio::test]
async fn what_is_served_here_is_registered() {
    let server = Server::start().await;
    let apps = server.get(&format!("{SERVICES}/v1.apps")).await.is(200);
    let apps = apps.json();
    let automanaged = |service: &Value| {
        service["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"].clone()
    };
    assert_eq!(automanaged(&apps), "onstart");
    assert_eq!(
        (
            &apps["spec"]["groupPriorityMinimum"],
            &apps["status"]["conditions"][0]["reason"]
        ),
        (&json!(17800), &json!("Local"))
    );
    let version = |name: &str, served: bool| {
        json!({"name": name, "served": served, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.lake.example.com"},
        "spec": {"group": "lake.example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [version("v1", true), version("v2", true), version("v3", false)]}});
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.make(DEFINITIONS, &definition).await;
    let path = format!("{SERVICES}/v2.lake.example.com");
    let made = server.until(&path, |answer| answer.code == 200).await;
    assert_eq!(automanaged(&made.json()), "true");
    assert_eq!(
        made.json()["spec"],
        json!({"group": "lake.example.com", "version": "v2", "groupPriorityMinimum": 1000, "versionPriority": 100})
    );
    server
        .get(&format!("{SERVICES}/v3.lake.example.com"))
        .await
        .is(404);
    // one that somebody takes away comes back
    server.send("DELETE", &path, &[], "").await.is(200);
    server.until(&path, |answer| answer.code == 200).await;
    let group = server.get("/apis/lake.example.com").await.json();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let gone = format!("{DEFINITIONS}/boats.lake.example.com");
    server.send("DELETE", &gone, &[], "").await.is(200);
    server.until_gone(&path).await;
}
