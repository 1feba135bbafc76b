//! What Ingresses mean, as a table of objects and what is asked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::Service, discovery::v1::EndpointSlice, networking::v1::IngressClass,
};
use serde_json::{Value, json};
use skiff_ingress::{endpoint::Protocol, table::HostMatch, upstream::Upstreams};

use super::certificates::{pem, secret};
use crate::{
    ingress::{
        certificates::Certificate,
        knowledge::{Knowledge, Known},
        plan::{Plan, plan, untold},
    },
    network::{
        slice::Slice,
        view::{ObjectName, Slices},
    },
};

/// A cluster of services `a` (port 80, named `web`), `grpc`, `tls`, `away` (ExternalName) and `none` (no endpoints).
pub fn service(name: &ObjectName) -> Option<(Arc<Service>, Slices)> {
    let port = |app: Option<&str>| json!({"ports": [{"name": "web", "port": 80, "appProtocol": app}, {"name": "udp", "port": 53, "protocol": "UDP"}]});
    let spec = match name.name.as_str() {
        "a" | "b" | "none" => port(None),
        "grpc" => port(Some("kubernetes.io/h2c")),
        "tls" => port(Some("https")),
        "away" => json!({"type": "ExternalName", "externalName": "x.example"}),
        _ => return None,
    };
    let endpoints = match name.name.as_str() {
        "none" => json!([{"addresses": ["10.0.0.9"], "conditions": {"ready": false}}]),
        _ => json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"]},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.5"], "conditions": {"ready": true, "serving": true, "terminating": true}},
        ]),
    };
    let slice: EndpointSlice = serde_json::from_value(
        json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "web", "port": 8080}]}),
    )
    .unwrap();
    let slice = Slice::of(&slice, &mut HashSet::new());
    let service =
        serde_json::from_value(json!({"metadata": {"name": name.name}, "spec": spec})).unwrap();
    Some((
        Arc::new(service),
        [("s".to_owned(), Arc::new(slice))].into(),
    ))
}

/// An Ingress of namespace `n` that was made in that second.
fn ingress(name: &str, second: u32, spec: Value) -> Value {
    json!({"metadata": {"namespace": "n", "name": name, "creationTimestamp": format!("2024-01-01T00:00:{second:02}Z")}, "spec": spec})
}

fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths = paths.iter().map(|(path, kind, service)| json!({"path": path, "pathType": kind, "backend": backend(service)}));
    json!({"host": host, "http": {"paths": paths.collect::<Vec<_>>()}})
}

fn planned(ingresses: Vec<Value>) -> (Plan, Upstreams) {
    let class: IngressClass =
        serde_json::from_value(json!({"metadata": {"name": "skiff", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}, "spec": {"controller": "skiff.dev/ingress"}})).unwrap();
    let mut knowledge = Knowledge::default();
    knowledge.classes.insert("skiff".into(), Arc::new(class));
    for ingress in ingresses {
        let told = ingress["metadata"]["annotations"]["told"] == "yes";
        let ingress: k8s_openapi::api::networking::v1::Ingress =
            serde_json::from_value(ingress).unwrap();
        let name = ObjectName::new("n", ingress.metadata.name.clone().unwrap());
        knowledge.ingresses.insert(
            name,
            Known {
                ingress: Arc::new(ingress),
                told,
            },
        );
    }
    for (name, ends) in [("good", (2030, 1, 1)), ("old", (2020, 1, 1))] {
        let (certificate, key) = pem("h", Some(ends));
        knowledge.certificates.insert(
            ObjectName::new("n", name),
            Certificate::of(&secret(&certificate, &key)),
        );
    }
    knowledge.certificates.insert(
        ObjectName::new("n", "bad"),
        Certificate::of(&secret("x", "x")),
    );
    let upstreams = Upstreams::default();
    let plan = plan(&knowledge, &service, &upstreams, now());
    (plan, upstreams)
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn problems(plan: &Plan) -> Vec<(&str, &str)> {
    plan.problems
        .iter()
        .map(|p| (p.ingress.name.as_str(), p.reason))
        .collect()
}

/// Where a request goes: the upstream, and `!` if only by https.
fn to(plan: &Plan, host: &str, path: &str) -> String {
    match plan.table.find(host, path) {
        None => "-".into(),
        Some(route) => format!(
            "{}{}",
            route.to.name,
            if route.https_only { "!" } else { "" }
        ),
    }
}

#[test]
fn rules_and_defaults() {
    let (plan, _) = planned(vec![
        ingress(
            "one",
            2,
            json!({"rules": [rule("h", &[("/x", "Prefix", "a"), ("/x", "Exact", "b"), ("/i", "ImplementationSpecific", "b")])], "defaultBackend": backend("tls")}),
        ),
        ingress("all", 9, json!({"defaultBackend": backend("grpc")})),
        ingress(
            "wild",
            3,
            json!({"rules": [rule("*.w", &[("/", "Prefix", "a")]), rule("", &[("/any", "Prefix", "b")])]}),
        ),
        ingress("bare", 4, json!({"rules": [{"host": "bare"}]})),
    ]);
    for (host, path, wanted) in [
        ("h", "/x", "n/b:80"),
        ("h", "/x/y", "n/a:80"),
        ("h", "/i/j", "n/b:80"),
        ("h", "/other", "n/tls:80"),
        ("q.w", "/", "n/a:80"),
        ("w", "/", "n/grpc:80"),
        ("bare", "/", "n/grpc:80"),
        ("any", "/any/x", "n/b:80"),
        ("any", "/", "n/grpc:80"),
    ] {
        assert_eq!(to(&plan, host, path), wanted, "{host} {path}");
    }
    assert_eq!(problems(&plan), []);
    assert_eq!(plan.ours.len(), 4);
}

#[test]
fn the_older_of_two_has_the_path() {
    let one = |service| json!({"rules": [rule("h", &[("/x", "Prefix", service), ("/only", "Prefix", service)])]});
    let (plan, _) = planned(vec![
        ingress(
            "young",
            9,
            json!({"rules": [rule("h", &[("/x/", "Prefix", "b"), ("/y", "Prefix", "b"), ("/x", "Exact", "b")])]}),
        ),
        ingress("z-old", 1, one("a")),
        ingress(
            "twin",
            1,
            json!({"rules": [rule("h", &[("/x", "Prefix", "grpc")])]}),
        ),
    ]);
    for (path, wanted) in [
        ("/x/1", "n/grpc:80"),
        ("/only", "n/a:80"),
        ("/y", "n/b:80"),
        ("/x", "n/b:80"),
    ] {
        assert_eq!(to(&plan, "h", path), wanted, "{path}");
    }
    assert_eq!(
        problems(&plan),
        [("young", "Conflict"), ("z-old", "Conflict")]
    );
    let said = &plan.problems.iter().next().unwrap().message;
    assert_eq!(
        said,
        "Ingress n/twin is older and has host h with the path /x already"
    );
    let (plan, _) = planned(vec![
        ingress("a", 1, json!({"defaultBackend": backend("a")})),
        ingress("b", 2, json!({"defaultBackend": backend("b")})),
        ingress(
            "c",
            0,
            json!({"rules": [rule("h", &[])], "defaultBackend": backend("tls")}),
        ),
    ]);
    assert_eq!(
        (to(&plan, "x", "/"), to(&plan, "h", "/")),
        ("n/a:80".into(), "n/tls:80".into())
    );
    assert_eq!(problems(&plan), [("b", "Conflict")]);
}

#[test]
fn backends() {
    let by = |service: &str, port: Value| json!({"rules": [{"host": service, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}]}}]});
    #[rustfmt::skip]
    let rows = [
        ("a", json!({"number": 80}), "n/a:80", 2, Protocol::Http1, None),
        ("a", json!({"name": "web"}), "n/a:80", 2, Protocol::Http1, None),
        ("grpc", json!({"name": "web"}), "n/grpc:80", 2, Protocol::H2c, None),
        ("tls", json!({"number": 80}), "n/tls:80", 2, Protocol::Https, None),
        ("none", json!({"number": 80}), "n/none:80", 0, Protocol::Http1, None),
        ("a", json!({"number": 81}), "n/a:0", 0, Protocol::Http1, Some("PortNotFound")),
        ("a", json!({"name": "x"}), "n/a:0", 0, Protocol::Http1, Some("PortNotFound")),
        ("a", json!({"name": "udp"}), "n/a:0", 0, Protocol::Http1, Some("PortNotFound")),
        ("gone", json!({"number": 80}), "n/gone:0", 0, Protocol::Http1, Some("ServiceNotFound")),
        ("away", json!({"number": 80}), "n/away:0", 0, Protocol::Http1, Some("UnsupportedBackend")),
    ];
    for (service, port, upstream, endpoints, protocol, problem) in rows {
        let (plan, _) = planned(vec![ingress("i", 1, by(service, port.clone()))]);
        let route = plan.table.find(service, "/").unwrap();
        assert_eq!(route.to.name, upstream, "{service} {port}");
        let mut tried = Vec::new();
        while let Some(endpoint) = route
            .to
            .pick(&tried)
            .filter(|e| !tried.contains(&e.address))
        {
            assert_eq!(endpoint.protocol, protocol, "{service}");
            tried.push(endpoint.address);
        }
        assert_eq!(
            tried.len(),
            endpoints,
            "{service} {port}: ready ones that do not end"
        );
        assert_eq!(
            problems(&plan).first().map(|(_, reason)| *reason),
            problem,
            "{service} {port}"
        );
    }
    let resource =
        json!({"defaultBackend": {"resource": {"kind": "Bucket", "name": "x", "apiGroup": "g"}}});
    let (plan, _) = planned(vec![ingress("i", 1, resource)]);
    assert_eq!(problems(&plan), [("i", "UnsupportedBackend")]);
}

#[test]
fn tls() {
    let with = |name: &str, hosts: Value, secret: &str, annotation: Option<&str>| {
        let mut made = ingress(
            name,
            1,
            json!({"rules": [rule(name, &[("/", "Prefix", "a")])], "tls": [{"hosts": hosts, "secretName": secret}]}),
        );
        if let Some(value) = annotation {
            made["metadata"]["annotations"] =
                json!({"nginx.ingress.kubernetes.io/ssl-redirect": value});
        }
        made
    };
    let (plan, _) = planned(vec![
        with("a.x", json!(["a.x"]), "good", None),
        with("b.x", json!(["b.x"]), "good", Some("false")),
        with("c.x", json!(null), "old", Some("true")),
        with("d.x", json!(["d.x"]), "gone", None),
        with("e.x", json!(["e.x"]), "bad", None),
        with("f.w", json!(["*.w"]), "good", None),
        with("plain", json!(["other.x"]), "", None),
    ]);
    for (host, https_only, certificate) in [
        ("a.x", true, true),
        ("b.x", false, true),
        ("c.x", true, true),
        ("d.x", true, false),
        ("e.x", true, false),
        ("f.w", true, false),
        ("plain", false, false),
        ("other.x", false, false),
    ] {
        assert_eq!(to(&plan, host, "/").ends_with('!'), https_only, "{host}");
        assert_eq!(
            plan.certificates.contains_key(&HostMatch::parse(host)),
            certificate,
            "{host}"
        );
    }
    assert!(plan.certificates.contains_key(&HostMatch::parse("*.w")));
    let wanted = [
        ("c.x", "CertificateExpired"),
        ("d.x", "SecretNotFound"),
        ("e.x", "InvalidCertificate"),
    ];
    assert_eq!(problems(&plan), wanted);
    assert_eq!(plan.next.unwrap().to_string(), "2030-01-01T00:00:00Z");
}

#[test]
fn those_of_another() {
    let of = |name: &str, class: &str, told: &str| {
        let mut made = ingress(
            name,
            1,
            json!({"ingressClassName": class, "rules": [rule(name, &[("/", "Prefix", "gone")])]}),
        );
        made["metadata"]["annotations"] = json!({"told": told});
        made
    };
    let (plan, _) = planned(vec![
        of("moved", "nginx", "yes"),
        of("never", "nginx", "no"),
        of("ours", "skiff", "yes"),
    ]);
    let names = |all: &[Known]| {
        all.iter()
            .map(|k| k.ingress.metadata.name.clone().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&plan.left), names(&plan.ours)),
        (vec!["moved".to_owned()], vec!["ours".to_owned()])
    );
    assert_eq!(to(&plan, "moved", "/"), "-");
    assert_eq!(problems(&plan), [("ours", "ServiceNotFound")]);
}

#[test]
fn a_problem_is_told_of_once_and_again_when_it_comes_back() {
    let bad = || {
        ingress(
            "i",
            1,
            json!({"rules": [rule("h", &[("/", "Prefix", "gone")])]}),
        )
    };
    let (with, _) = planned(vec![bad()]);
    let (without, _) = planned(vec![]);
    let mut told = HashMap::new();
    let counts =
        [&with, &with, &without, &with].map(|plan| untold(&mut told, &plan.problems).len());
    assert_eq!(counts, [1, 0, 0, 1]);
}
