//! The node's own API over real TLS: who gets in, logs, commands.

mod support;

use std::{sync::Arc, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::{
    RootCertStore,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde_json::{Value, json};
use skiff_nodeagent::{ApiConfig, Config, Parts};
use support::{Api, FakeImages, FakeRuntime, api, eventually};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(parameters, key),
        }
    }

    fn issue(&self, name: &str, group: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, group);
        let key = rcgen::KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

struct Node {
    api: Api,
    port: u16,
    authority: Authority,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start() -> Self {
        let (api, runtime, authority, stop, dir) = (
            api(),
            FakeRuntime::new(),
            Authority::new(),
            CancellationToken::new(),
            tempfile::tempdir().unwrap(),
        );
        let (certificate, key) = authority.issue("system:node:node", "system:nodes");
        let mut config = Config::new("node", dir.path());
        config.api = Some(ApiConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            client_ca: authority.certificate.pem().into_bytes(),
        });
        let parts = Parts {
            client: api.client(),
            runtime,
            images: Arc::new(FakeImages),
            network: None,
            nodes: None,
        };
        let token = stop.clone();
        let task =
            tokio::spawn(async move { skiff_nodeagent::run(config, parts, token).await.unwrap() });
        let port =
            eventually("node", || api.get("/api/v1/nodes/node")).await["status"]["daemonEndpoints"]
                ["kubeletEndpoint"]["Port"]
                .as_u64()
                .unwrap();
        api.create_pod("node", "p", json!({"containers": [{"name": "c", "image": "here:1", "command": ["run"]}, {"name": "bad", "image": "missing:1"}]}));
        eventually("running", || {
            (!api.pod("p")?["status"]["containerStatuses"][1]["state"]["running"].is_null())
                .then_some(())
        })
        .await;
        Self {
            api,
            port: u16::try_from(port).unwrap(),
            authority,
            stop,
            task,
            _dir: dir,
        }
    }

    async fn connect(&self, user: Option<(&str, &str)>) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate.der().clone()).unwrap();
        let builder = skiff_watching::tls::client(Some(roots)).unwrap();
        let config = match user {
            None => builder.with_no_client_auth(),
            Some((name, group)) => {
                let (certificate, key) = self.authority.issue(name, group);
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
            .unwrap()
    }

    async fn get(&self, user: Option<(&str, &str)>, path: &str) -> (u16, String) {
        let stream = self.connect(user).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status().as_u16();
        (
            code,
            String::from_utf8(
                response
                    .into_body()
                    .collect()
                    .await
                    .unwrap()
                    .to_bytes()
                    .to_vec(),
            )
            .unwrap(),
        )
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

const SERVER: Option<(&str, &str)> = Some(("kube-apiserver", "system:masters"));

#[tokio::test(flavor = "multi_thread")]
async fn only_the_allowed_get_in() {
    let node = Node::start().await;
    assert_eq!(node.get(None, "/healthz").await.0, 401);
    assert_eq!(node.get(SERVER, "/healthz").await, (200, "ok".to_owned()));
    assert_eq!(node.get(Some(("admin", "users")), "/pods").await.0, 200);
    let refusal = "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[nodes/pods nodes/proxy])\n";
    assert_eq!(
        node.get(Some(("jane", "users")), "/pods").await,
        (403, refusal.to_owned())
    );
    let reviews = node
        .api
        .list("/apis/authorization.k8s.io/v1/subjectaccessreviews");
    assert_eq!(
        reviews[0]["spec"]["resourceAttributes"]["resource"],
        "nodes"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_pods_and_figures() {
    let node = Node::start().await;
    assert_eq!(
        node.get(SERVER, "/containerLogs/default/p/c").await,
        (200, "hello from c\n".to_owned())
    );
    assert_eq!(
        node.get(SERVER, "/containerLogs/default/p/c?limitBytes=5")
            .await
            .1,
        "hello"
    );
    for (path, code, text) in [
        (
            "/containerLogs/default/none/c",
            404,
            "pod \"none\" does not exist",
        ),
        (
            "/containerLogs/default/p/none",
            404,
            "container \"none\" not found in pod \"p\"",
        ),
        (
            "/containerLogs/default/p/c?tailLines=-1",
            422,
            "{\"message\": \"Invalid request.\"}",
        ),
        (
            "/containerLogs/default/p/c?tailLines=x",
            400,
            "{\"message\": \"Unable to decode query.\"}",
        ),
        ("/exec/default/none/c?output=1", 404, "pod does not exist"),
        (
            "/exec/default/none/c",
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        (
            "/exec/default/p/none?output=1",
            500,
            "container not found (\"none\")",
        ),
        (
            "/attach/default/p/none?output=1",
            500,
            "container none not found in pod p_default",
        ),
        (
            "/exec/default/p/c?output=1",
            500,
            "Upgrade request required\n",
        ),
        ("/portForward/default/none", 404, "pod does not exist"),
    ] {
        assert_eq!(
            node.get(SERVER, path).await,
            (code, text.to_owned()),
            "{path}"
        );
    }
    let (code, text) = node.get(SERVER, "/containerLogs/default/p/bad").await;
    assert_eq!(code, 400);
    assert!(
        text.starts_with("container \"bad\" in pod \"p\" is waiting to start: "),
        "{text}"
    );
    assert_eq!(
        node.get(SERVER, "/containerLogs/default/p/c?previous=true")
            .await,
        (
            400,
            "previous terminated container \"c\" in pod \"p\" not found".to_owned()
        )
    );
    let pods = node.get(SERVER, "/pods").await.1;
    assert_eq!(node.get(SERVER, "/pods/").await.0, 200);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    assert_eq!(node.get(SERVER, "/runningpods").await.0, 307);
    assert_eq!(pods["items"][0]["metadata"]["name"], "p");
    assert_eq!(
        (&pods["kind"], pods["items"][0].get("kind")),
        (&json!("PodList"), None)
    );
    let running: Value = serde_json::from_str(&node.get(SERVER, "/runningpods/").await.1).unwrap();
    let run = &running["items"][0];
    assert_eq!(run["metadata"]["uid"], pods["items"][0]["metadata"]["uid"]);
    assert_eq!(run["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&run["spec"]["containers"][0]["name"], &run["status"]),
        (&json!("c"), &json!({}))
    );
    // a path may name the uid, too
    let uid = run["metadata"]["uid"].as_str().unwrap();
    for (path, code, text) in [
        (
            format!("/exec/default/p/{uid}/c?output=1"),
            500,
            "Upgrade request required\n",
        ),
        (
            "/exec/default/p/other/c?output=1".into(),
            500,
            "container not found (\"c\")",
        ),
        (
            "/portForward/default/p/other".into(),
            500,
            "pod not found (\"p_default\")",
        ),
        ("/healthz/syncloop".into(), 200, "ok"),
        ("/healthz/none".into(), 404, "404 page not found\n"),
        (
            "/healthz?verbose".into(),
            200,
            "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n",
        ),
    ] {
        assert_eq!(
            node.get(SERVER, &path).await,
            (code, text.to_owned()),
            "{path}"
        );
    }
    let settings: Value = serde_json::from_str(&node.get(SERVER, "/configz").await.1).unwrap();
    let settings = &settings["kubeletconfig"];
    assert_eq!(
        (&settings["kind"], &settings["enableServer"]),
        (&json!("KubeletConfiguration"), &json!(true))
    );
    let summary: Value = serde_json::from_str(&node.get(SERVER, "/stats/summary").await.1).unwrap();
    assert_eq!(
        summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"],
        4096
    );
    let only: Value = serde_json::from_str(
        &node
            .get(SERVER, "/stats/summary?only_cpu_and_memory=true")
            .await
            .1,
    )
    .unwrap();
    let (all, only) = (&summary["pods"][0], &only["pods"][0]);
    assert_eq!(only["cpu"]["usageCoreNanoSeconds"], 1_000_000);
    for field in ["ephemeral-storage", "containers"] {
        assert!(all.get(field).is_some(), "{all}");
    }
    assert_eq!(all["containers"][0]["rootfs"]["usedBytes"], 10_000);
    assert_eq!(all["containers"][0]["rootfs"]["inodesUsed"], 3);
    assert!(only.get("ephemeral-storage").is_none(), "{only}");
    assert!(only["containers"][0].get("rootfs").is_none(), "{only}");
    let text = node.get(SERVER, "/metrics/resource").await.1;
    for line in [
        "pod_memory_working_set_bytes{namespace=\"default\",pod=\"p\"} 4096 ",
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"p\"} 0.001 ",
        "# TYPE container_start_time_seconds gauge",
        "resource_scrape_error 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let text = node.get(SERVER, "/metrics/cadvisor").await.1;
    for line in [
        "# TYPE container_memory_usage_bytes gauge",
        "container=\"c\",cpu=\"total\",",
        "machine_cpu_cores{boot_id=",
        "container_fs_usage_bytes{container=\"c\",device=\"\"",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_through_a_websocket() {
    let node = Node::start().await;
    for (command, status) in [("ok", "Success"), ("fail", "Failure")] {
        let request = hyper::Request::get(format!(
            "wss://localhost/exec/default/p/c?command={command}&command=now&output=1&error=1"
        ))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .body(())
        .unwrap();
        let (mut socket, response) =
            tokio_tungstenite::client_async(request, node.connect(SERVER).await)
                .await
                .unwrap();
        assert_eq!(
            response.headers()["sec-websocket-protocol"],
            "v5.channel.k8s.io"
        );
        let mut channels = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(data) = message {
                channels[usize::from(data[0])].extend_from_slice(&data[1..]);
            }
        }
        assert_eq!(channels[1], format!("{command} now").as_bytes());
        let told: Value = serde_json::from_slice(&channels[3]).unwrap();
        assert_eq!(told["status"], status);
    }
    // what older clients speak, whose text frames bear a digit and base64
    for (protocol, is_text) in [
        ("channel.k8s.io", false),
        ("base64.channel.k8s.io", true),
        ("v4.channel.k8s.io", false),
        ("v4.base64.channel.k8s.io", true),
    ] {
        let request = hyper::Request::get("wss://localhost/exec/default/p/c?command=ok&output=1")
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocol)
            .body(())
            .unwrap();
        let (mut socket, response) =
            tokio_tungstenite::client_async(request, node.connect(SERVER).await)
                .await
                .unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        let mut said = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(data) if !is_text && data[0] == 1 => said.extend(&data[1..]),
                Message::Text(text) if is_text && text.starts_with('1') => {
                    said.extend(BASE64_STANDARD.decode(&text[1..]).unwrap());
                }
                Message::Binary(_) => assert!(!is_text, "{protocol}"),
                Message::Text(_) => assert!(is_text, "{protocol}"),
                _ => {}
            }
        }
        assert_eq!(said, b"ok", "{protocol}");
    }
    assert_eq!(
        node.get(SERVER, "/exec/default/p/c?command=x&output=1")
            .await,
        (500, "Upgrade request required\n".to_owned())
    );
    node.end().await;
}

/// What dashboards ask a node for: names, types, and labels as upstream has them.
const SERIES: [(&str, &str, &str); 18] = [
    ("kubelet_node_name", "gauge", "{node=\"node\"}"),
    ("kubelet_running_pods", "gauge", ""),
    (
        "kubelet_running_containers",
        "gauge",
        "{container_state=\"running\"}",
    ),
    ("kubelet_desired_pods", "gauge", "{static=\"\"}"),
    ("kubelet_active_pods", "gauge", "{static=\"\"}"),
    ("kubelet_pod_start_duration_seconds", "histogram", ""),
    ("kubelet_pod_start_sli_duration_seconds", "histogram", ""),
    ("kubelet_pod_start_total_duration_seconds", "histogram", ""),
    ("kubelet_pod_worker_start_duration_seconds", "histogram", ""),
    (
        "kubelet_pod_worker_duration_seconds",
        "histogram",
        "{operation_type=\"create\"}",
    ),
    ("kubelet_pleg_relist_duration_seconds", "histogram", ""),
    (
        "kubelet_runtime_operations_total",
        "counter",
        "{operation_type=\"run_podsandbox\"}",
    ),
    (
        "kubelet_runtime_operations_duration_seconds",
        "histogram",
        "{operation_type=\"start_container\"}",
    ),
    ("kubelet_started_pods_total", "counter", ""),
    ("kubelet_started_pods_errors_total", "counter", ""),
    (
        "kubelet_started_containers_total",
        "counter",
        "{container_type=\"container\"}",
    ),
    (
        "kubelet_started_containers_errors_total",
        "counter",
        "{code=\"ErrImagePull\",container_type=\"container\"}",
    ),
    (
        "kubelet_http_requests_total",
        "counter",
        "{long_running=\"false\",method=\"GET\",path=\"metrics\",server_type=\"readwrite\"}",
    ),
];

/// The value of a line.
fn value(text: &str, line: &str) -> Option<f64> {
    let rest = text.lines().find_map(|one| one.strip_prefix(line))?;
    rest.strip_prefix(' ')?.parse().ok()
}

/// The figures once all these lines have a value that is asked for: what is counted at a piece of work's end is there a moment after the work shows.
async fn figures(
    node: &Node,
    lines: &[String],
    wanted: impl Fn(&str, Option<f64>) -> bool,
) -> String {
    let begun = std::time::Instant::now();
    loop {
        let text = node.get(SERVER, "/metrics").await.1;
        let Some(line) = lines.iter().find(|line| !wanted(line, value(&text, line))) else {
            return text;
        };
        assert!(begun.elapsed() < PATIENCE, "{line} in {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_does_is_counted() {
    let node = Node::start().await;
    let lines = SERIES.map(|(name, kind, labels)| {
        let suffix = if kind == "histogram" { "_count" } else { "" };
        format!("{name}{suffix}{labels}")
    });
    let before = figures(&node, &lines, |_, value| value.is_some()).await;
    for (name, kind, _) in SERIES {
        let typed = format!("# TYPE {name} {kind}\n");
        assert!(before.contains(&typed), "{typed} in {before}");
        assert!(before.contains(&format!("# HELP {name} ")), "{name}");
    }
    for line in [
        "kubernetes_build_info{",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_start_time_seconds ",
        "# TYPE kubelet_runtime_operations_errors_total counter",
    ] {
        assert!(
            before.lines().any(|one| one.starts_with(line)),
            "{line} in {before}"
        );
    }
    let probe = json!({"exec": {"command": ["ok"]}, "periodSeconds": 1});
    let pod = node.api.create_pod(
        "node",
        "q",
        json!({"containers": [
        {"name": "c", "image": "here:1", "command": ["run"], "readinessProbe": probe}]}),
    );
    eventually("a pod that is ready", || {
        (node.api.pod("q")?["status"]["containerStatuses"][0]["ready"] == true).then_some(())
    })
    .await;
    let lines = [
        "kubelet_running_pods",
        "kubelet_running_containers{container_state=\"running\"}",
        "kubelet_desired_pods{static=\"\"}",
        "kubelet_active_pods{static=\"\"}",
        "kubelet_pod_start_duration_seconds_count",
        "kubelet_pod_start_sli_duration_seconds_count",
        "kubelet_pod_start_total_duration_seconds_count",
        "kubelet_pod_worker_start_duration_seconds_count",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"create\"}",
        "kubelet_runtime_operations_total{operation_type=\"run_podsandbox\"}",
        "kubelet_runtime_operations_total{operation_type=\"start_container\"}",
        "kubelet_started_pods_total",
    ]
    .map(String::from);
    let one_more = |line: &str, now| now == value(&before, line).map(|old| old + 1.0);
    figures(&node, &lines, one_more).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let line = format!(
        "prober_probe_total{{container=\"c\",namespace=\"default\",pod=\"q\",pod_uid=\"{uid}\",probe_type=\"Readiness\",result=\"successful\"}}"
    );
    let text = node.get(SERVER, "/metrics/probes").await.1;
    assert!(value(&text, &line) >= Some(1.0), "{line} in {text}");
    node.api.delete_pod("q", 0);
    eventually("its end", || node.api.pod("q").is_none().then_some(())).await;
    let text = node.get(SERVER, "/metrics/probes").await.1;
    assert_eq!(value(&text, &line), None, "{text}");
    let ended = ["kill", "terminated"].map(|work| {
        format!("kubelet_pod_worker_duration_seconds_count{{operation_type=\"{work}\"}}")
    });
    figures(&node, &ended, |_, value| value == Some(1.0)).await;
    for path in ["/metrics", "/metrics/probes"] {
        let refusal =
            "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[nodes/metrics])\n";
        let answer = node.get(Some(("jane", "users")), path).await;
        assert_eq!(answer, (403, refusal.to_owned()));
        assert_eq!(node.get(Some(("admin", "users")), path).await.0, 200);
    }
    assert_eq!(node.get(SERVER, "/logs").await.0, 307);
    for path in ["/logs/", "/logs/pods/x"] {
        let answer = node.get(SERVER, path).await;
        assert_eq!(answer, (405, "logs endpoint is disabled.\n".to_owned()));
    }
    node.end().await;
}
