//! What gateways and routes come to, as tables of objects and what is told of them and done by them.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_ingress::{listeners::Asked, table::clean, treatment::Target, upstream::Upstreams};
use skiff_watching::follow::Seen;

use super::{
    Plan,
    objects::{Gateway, GatewayClass, HttpRoute, Namespace, ReferenceGrant},
    plan,
    status::{Now, Tell},
    watch::Change,
};
use crate::{
    ingress::{
        certificates::Certificate,
        knowledge::Knowledge,
        tests::{
            certificates::{pem, secret},
            plans::service,
        },
    },
    network::view::ObjectName,
};

fn read<O: for<'de> Deserialize<'de>>(object: Value) -> O {
    serde_json::from_value(object).unwrap()
}

/// Objects by their kinds, with the class `skiff`, the namespaces `n` and `m` (labelled `team: m`), and the certificate `n/tls`.
fn known(objects: Vec<Value>) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let (certificate, key) = pem("a.io", None);
    let of = Certificate::of(&secret(&certificate, &key));
    knowledge
        .certificates
        .insert(ObjectName::new("n", "tls"), of);
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "skiff"}, "spec": {"controllerName": "skiff.dev/gateway"}});
    let space = |name: &str| json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}});
    for object in [class, space("n"), space("m")].into_iter().chain(objects) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        knowledge.gateways.apply(match kind.as_str() {
            "GatewayClass" => Change::Classes(Seen::Applied(read::<GatewayClass>(object))),
            "Gateway" => Change::Gateways(Seen::Applied(read::<Gateway>(object))),
            "HTTPRoute" => Change::Routes(Seen::Applied(read::<HttpRoute>(object))),
            "ReferenceGrant" => Change::Grants(Seen::Applied(read::<ReferenceGrant>(object))),
            _ => Change::Namespaces(Seen::Applied(read::<Namespace>(object))),
        });
    }
    knowledge
}

fn planned(objects: Vec<Value>) -> Plan {
    let upstreams = Upstreams::default();
    let open = [(80, false), (443, true)];
    let known = known(objects);
    plan(
        &known.gateways,
        &known.certificates,
        &service,
        &upstreams,
        now(),
        &open,
    )
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00.5Z".parse().unwrap()
}

/// A gateway of namespace `n`, made in that second, with these listeners.
fn gateway(name: &str, second: u32, listeners: Value) -> Value {
    json!({"kind": "Gateway",
        "metadata": {"namespace": "n", "name": name, "generation": 3, "resourceVersion": "7", "creationTimestamp": format!("2024-01-01T00:00:{second:02}Z")},
        "spec": {"gatewayClassName": "skiff", "listeners": listeners}})
}

fn web() -> Value {
    json!({"name": "web", "port": 80, "protocol": "HTTP"})
}

fn with(mut object: Value, more: Value) -> Value {
    skiff_api::machinery::patch::merge::apply(&mut object, more, false).unwrap();
    object
}

/// A route of a namespace to gateway `n/g`.
fn route(namespace: &str, name: &str, spec: Value) -> Value {
    let spec = with(
        json!({"parentRefs": [{"namespace": "n", "name": "g"}]}),
        spec,
    );
    json!({"kind": "HTTPRoute", "metadata": {"namespace": namespace, "name": name, "generation": 1}, "spec": spec})
}

fn to(service: &str) -> Value {
    json!({"rules": [{"backendRefs": [{"name": service, "port": 80}]}]})
}

fn doors() -> BTreeMap<u16, Result<(), String>> {
    [
        (80, Ok(())),
        (443, Ok(())),
        (8080, Err("it is taken".into())),
    ]
    .into()
}

/// What is written of the objects of a kind, by path.
fn written(tell: &[Tell]) -> BTreeMap<String, Value> {
    let addresses = BTreeSet::from(["10.89.0.2".parse().unwrap()]);
    let doors = doors();
    let now = Now {
        time: now(),
        addresses: &addresses,
        doors: &doors,
    };
    tell.iter().filter_map(|one| now.patch(one)).collect()
}

/// `Type=Status:Reason` of all conditions, in a line.
fn spoken(conditions: &Value) -> String {
    let of = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let sign = if text("status") == "True" { "+" } else { "-" };
        format!("{sign}{}:{}", text("type"), text("reason"))
    };
    let all: Vec<_> = conditions.as_array().unwrap().iter().map(of).collect();
    all.join(" ")
}

const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/n/gateways/g/status";

#[test]
fn listeners_are_judged() {
    let https = |tls: Value| json!({"name": "web", "port": 443, "protocol": "HTTPS", "tls": tls});
    let tls = |secret: Value| https(json!({"certificateRefs": [secret]}));
    let fine = "+Accepted:Accepted +Programmed:Programmed -Conflicted:NoConflicts +ResolvedRefs:ResolvedRefs";
    let shut = |resolved: &str| {
        format!("+Accepted:Accepted -Programmed:Invalid -Conflicted:NoConflicts {resolved}")
    };
    let refused = |why: &str| {
        format!(
            "-Accepted:{why} -Programmed:Invalid -Conflicted:NoConflicts +ResolvedRefs:ResolvedRefs"
        )
    };
    let cases: [(Value, String); 16] = [
        (web(), fine.into()),
        (tls(json!({"name": "tls"})), fine.into()),
        (
            tls(json!({"name": "none"})),
            shut("-ResolvedRefs:InvalidCertificateRef"),
        ),
        (
            tls(json!({"name": "tls", "kind": "ConfigMap"})),
            shut("-ResolvedRefs:InvalidCertificateRef"),
        ),
        (
            tls(json!({"name": "tls", "namespace": "m"})),
            shut("-ResolvedRefs:RefNotPermitted"),
        ),
        (
            https(json!({})),
            shut("-ResolvedRefs:InvalidCertificateRef"),
        ),
        (
            https(json!({"certificateRefs": [{"name": "tls"}, {"name": "none"}]})),
            fine.replace("+ResolvedRefs:ResolvedRefs", "-ResolvedRefs:InvalidCertificateRef"),
        ),
        (
            https(json!({"mode": "Passthrough"})),
            refused("UnsupportedValue"),
        ),
        (
            https(json!({"certificateRefs": [{"name": "tls"}], "options": {"a.io/b": "c"}})),
            refused("UnsupportedValue"),
        ),
        (
            json!({"name": "web", "port": 53, "protocol": "UDP"}),
            refused("UnsupportedProtocol"),
        ),
        (
            json!({"name": "web", "port": 443, "protocol": "HTTP"}),
            "+Accepted:Accepted -Programmed:Invalid +Conflicted:ProtocolConflict +ResolvedRefs:ResolvedRefs".into(),
        ),
        (
            json!({"name": "web", "port": 8080, "protocol": "HTTP"}),
            fine.replace("+Programmed:Programmed", "-Programmed:PortUnavailable"),
        ),
        (
            json!({"name": "web", "port": 9090, "protocol": "HTTP"}),
            fine.replace("+Programmed:Programmed", "-Programmed:Pending"),
        ),
        (
            with(web(), json!({"allowedRoutes": {"kinds": [{"kind": "HTTPRoute"}]}})),
            fine.into(),
        ),
        (
            with(web(), json!({"allowedRoutes": {"kinds": [{"kind": "TCPRoute"}, {"kind": "HTTPRoute"}]}})),
            fine.replace("+ResolvedRefs:ResolvedRefs", "-ResolvedRefs:InvalidRouteKinds"),
        ),
        (
            with(web(), json!({"allowedRoutes": {"kinds": [{"kind": "HTTPRoute", "group": "a.io"}]}})),
            fine.replace("+ResolvedRefs:ResolvedRefs", "-ResolvedRefs:InvalidRouteKinds"),
        ),
    ];
    for (listener, wanted) in cases {
        let plan = planned(vec![gateway("g", 0, json!([listener]))]);
        let status = &written(&plan.tell)[GATEWAY]["status"];
        let found = spoken(&status["listeners"][0]["conditions"]);
        assert_eq!(found, wanted, "{listener}");
        let serves = wanted.starts_with("+") && !wanted.contains("Invalid ");
        assert_eq!(plan.doors.len(), usize::from(serves), "{listener}");
        assert_eq!(!status["addresses"].as_array().unwrap().is_empty(), serves);
    }
}

#[test]
fn gateways_are_judged() {
    let two = json!([web(), {"name": "udp", "port": 53, "protocol": "UDP"}]);
    let cases = [
        (
            gateway("g", 0, json!([web()])),
            "+Accepted:Accepted +Programmed:Programmed",
        ),
        (
            gateway("g", 0, two),
            "+Accepted:ListenersNotValid +Programmed:Programmed",
        ),
        (
            gateway(
                "g",
                0,
                json!([{"name": "udp", "port": 53, "protocol": "UDP"}]),
            ),
            "-Accepted:ListenersNotValid -Programmed:Invalid",
        ),
        (
            with(
                gateway("g", 0, json!([web()])),
                json!({"spec": {"addresses": [{"value": "10.0.0.1"}]}}),
            ),
            "-Accepted:UnsupportedAddress -Programmed:Invalid",
        ),
        (
            with(
                gateway("g", 0, json!([web()])),
                json!({"spec": {"infrastructure": {"parametersRef": {"name": "x"}}}}),
            ),
            "-Accepted:InvalidParameters -Programmed:Invalid",
        ),
    ];
    for (gateway, wanted) in cases {
        let plan = planned(vec![gateway.clone()]);
        let found = &written(&plan.tell)[GATEWAY]["status"]["conditions"];
        assert_eq!(spoken(found), wanted, "{gateway}");
    }
    let other = with(
        gateway("g", 0, json!([web()])),
        json!({"spec": {"gatewayClassName": "nginx"}}),
    );
    let told = written(&planned(vec![other]).tell);
    assert!(
        !told.contains_key(GATEWAY),
        "a gateway of others is left alone"
    );
    // who asks that clients show certificates is not served without
    let frontend = with(
        gateway(
            "g",
            0,
            json!([{"name": "web", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}}]),
        ),
        json!({"spec": {"tls": {"frontend": {"default": {}}}}}),
    );
    assert!(planned(vec![frontend]).doors.is_empty());
}

#[test]
fn the_older_gateway_has_what_both_want() {
    let listener = |host: &str| with(web(), json!({"hostname": host}));
    let plan = planned(vec![
        gateway("a", 2, json!([listener("a.io")])),
        gateway("g", 1, json!([listener("a.io")])),
        gateway("z", 3, json!([listener("b.io")])),
    ]);
    let told = written(&plan.tell);
    let conflicts = |name: &str| {
        let status = &told[&GATEWAY.replace("/g/", &format!("/{name}/"))]["status"];
        spoken(&status["listeners"][0]["conditions"]).contains("HostnameConflict")
    };
    assert_eq!(["a", "g", "z"].map(conflicts), [true, false, false]);
}

#[test]
fn what_is_told_already_is_not_written() {
    let objects = || vec![gateway("g", 0, json!([web()])), route("n", "r", to("a"))];
    let mut objects = objects();
    let told = written(&planned(objects.clone()).tell);
    assert_eq!(told.len(), 3, "{told:?}");
    for object in &mut objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("/{name}/status");
        let patch = told.iter().find(|(at, _)| at.ends_with(&path)).unwrap().1;
        *object = with(object.clone(), json!({"status": patch["status"]}));
    }
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "skiff"}, "spec": {"controllerName": "skiff.dev/gateway"},
        "status": told["/apis/gateway.networking.k8s.io/v1/gatewayclasses/skiff/status"]["status"]});
    objects.push(class);
    let again = written(&planned(objects.clone()).tell);
    assert!(again.is_empty(), "{again:?}");
    // what others have said of a route stays, and a condition's time while its status does
    let of_other =
        json!({"parentRef": {"name": "x"}, "controllerName": "other.io/x", "conditions": []});
    let mut parents = objects[1]["status"]["parents"].as_array().unwrap().clone();
    parents[0]["conditions"][0]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
    parents[0]["conditions"][1]["status"] = json!("False");
    parents.push(of_other.clone());
    objects[1]["status"]["parents"] = parents.into();
    let again = written(&planned(objects).tell);
    assert_eq!(again.len(), 1);
    let parents = &again.values().next().unwrap()["status"]["parents"];
    assert_eq!(parents[0], of_other);
    let times = [0, 1].map(|at| parents[1]["conditions"][at]["lastTransitionTime"].clone());
    assert_eq!(
        times,
        [json!("2020-01-01T00:00:00Z"), json!("2026-01-01T00:00:00Z")]
    );
}

#[test]
fn routes_come_to_listeners() {
    let all = |more: Value| {
        with(
            web(),
            with(
                json!({"allowedRoutes": {"namespaces": {"from": "All"}}}),
                more,
            ),
        )
    };
    let selected = json!({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "m"}}}}});
    let hosts = |hosts: Value| with(to("a"), json!({"hostnames": hosts}));
    let section =
        |name: &str| json!({"parentRefs": [{"namespace": "n", "name": "g", "sectionName": name}]});
    let filter = |filter: Value| json!({"rules": [{"filters": [filter], "backendRefs": [{"name": "a", "port": 80}]}]});
    let (yes, resolved) = ("+Accepted:Accepted", "+ResolvedRefs:ResolvedRefs");
    let cases: [(Value, Value, String); 21] = [
        (web(), route("n", "r", to("a")), format!("{yes} {resolved}")),
        (
            web(),
            route("m", "r", to("a")),
            format!("-Accepted:NotAllowedByListeners {resolved}"),
        ),
        (
            all(json!({})),
            route("m", "r", to("a")),
            format!("{yes} {resolved}"),
        ),
        (
            with(web(), selected.clone()),
            route("m", "r", to("a")),
            format!("{yes} {resolved}"),
        ),
        (
            with(web(), selected),
            route("n", "r", to("a")),
            format!("-Accepted:NotAllowedByListeners {resolved}"),
        ),
        (
            with(
                web(),
                json!({"allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}}),
            ),
            route("n", "r", to("a")),
            format!("-Accepted:NotAllowedByListeners {resolved}"),
        ),
        (
            web(),
            route("n", "r", with(to("a"), section("web"))),
            format!("{yes} {resolved}"),
        ),
        (
            web(),
            route("n", "r", with(to("a"), section("no"))),
            format!("-Accepted:NoMatchingParent {resolved}"),
        ),
        (
            web(),
            route(
                "n",
                "r",
                with(to("a"), json!({"parentRefs": [{"name": "g", "port": 81}]})),
            ),
            format!("-Accepted:NoMatchingParent {resolved}"),
        ),
        (
            all(json!({"hostname": "a.io"})),
            route("n", "r", hosts(json!(["b.io"]))),
            format!("-Accepted:NoMatchingListenerHostname {resolved}"),
        ),
        (
            all(json!({"hostname": "*.io"})),
            route("n", "r", hosts(json!(["b.io"]))),
            format!("{yes} {resolved}"),
        ),
        (
            web(),
            route("n", "r", to("nobody")),
            format!("{yes} -ResolvedRefs:BackendNotFound"),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"backendRefs": [{"name": "a", "port": 81}]}]}),
            ),
            format!("{yes} -ResolvedRefs:BackendNotFound"),
        ),
        (
            web(),
            route("n", "r", to("away")),
            format!("{yes} -ResolvedRefs:BackendNotFound"),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"backendRefs": [{"name": "a", "port": 80, "kind": "Bucket", "group": "a.io"}]}]}),
            ),
            format!("{yes} -ResolvedRefs:InvalidKind"),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"backendRefs": [{"name": "a", "namespace": "m", "port": 80}]}]}),
            ),
            format!("{yes} -ResolvedRefs:RefNotPermitted"),
        ),
        (
            web(),
            route(
                "n",
                "r",
                filter(
                    json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "a", "port": 80}}}),
                ),
            ),
            "-Accepted:UnsupportedValue +ResolvedRefs:ResolvedRefs".into(),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}]}),
            ),
            "-Accepted:UnsupportedValue +ResolvedRefs:ResolvedRefs".into(),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"timeouts": {"request": "soon"}}]}),
            ),
            "-Accepted:UnsupportedValue +ResolvedRefs:ResolvedRefs".into(),
        ),
        (
            web(),
            route("n", "r", json!({"rules": [{"retry": {"attempts": 2}}]})),
            "-Accepted:UnsupportedValue +ResolvedRefs:ResolvedRefs".into(),
        ),
        (
            web(),
            route(
                "n",
                "r",
                json!({"rules": [{"backendRefs": [{"name": "a", "port": 80, "filters": [{"type": "URLRewrite"}]}]}]}),
            ),
            "-Accepted:UnsupportedValue +ResolvedRefs:ResolvedRefs".into(),
        ),
    ];
    for (listener, route, wanted) in cases {
        let namespace = route["metadata"]["namespace"].as_str().unwrap().to_owned();
        let told = format!("{listener} {route}");
        let plan = planned(vec![gateway("g", 0, json!([listener])), route]);
        let all = written(&plan.tell);
        let path = format!(
            "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/r/status"
        );
        let parent = &all[&path]["status"]["parents"][0];
        assert_eq!(spoken(&parent["conditions"]), wanted, "{told}");
        let attached = &all[GATEWAY]["status"]["listeners"][0]["attachedRoutes"];
        assert_eq!(
            *attached,
            json!(i32::from(wanted.starts_with('+'))),
            "{told}"
        );
    }
    // a route to somebody else's gateway, or to no gateway, is left alone
    for parents in [
        json!([{"name": "other"}]),
        json!([{"name": "g", "kind": "Service", "group": ""}]),
    ] {
        let route = route("n", "r", with(to("a"), json!({"parentRefs": parents})));
        let told = written(&planned(vec![gateway("g", 0, json!([web()])), route]).tell);
        assert!(
            told.keys().all(|path| !path.contains("httproutes")),
            "{told:?}"
        );
    }
}

#[test]
fn a_grant_opens_another_namespace() {
    let elsewhere =
        json!({"rules": [{"backendRefs": [{"name": "a", "namespace": "m", "port": 80}]}]});
    let grant = |from: Value, to: Value| json!({"kind": "ReferenceGrant", "metadata": {"namespace": "m", "name": "g"}, "spec": {"from": [from], "to": [to]}});
    let routes =
        || json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "n"});
    let any = || json!({"group": "", "kind": "Service"});
    let cases = [
        (grant(routes(), any()), true),
        (grant(routes(), with(any(), json!({"name": "a"}))), true),
        (grant(routes(), with(any(), json!({"name": "b"}))), false),
        (
            grant(with(routes(), json!({"namespace": "o"})), any()),
            false,
        ),
        (
            grant(with(routes(), json!({"kind": "Gateway"})), any()),
            false,
        ),
        (
            with(
                grant(routes(), any()),
                json!({"metadata": {"namespace": "o"}}),
            ),
            false,
        ),
    ];
    for (grant, opens) in cases {
        let objects = vec![
            gateway("g", 0, json!([web()])),
            route("n", "r", elsewhere.clone()),
            grant.clone(),
        ];
        assert_eq!(planned(objects).used.len(), usize::from(opens), "{grant}");
    }
}

/// What is done with a GET of a path at port 80.
fn done(plan: &Plan, host: &str, path: &str) -> String {
    let headers = HeaderMap::new();
    let Some((listener, _)) = plan.listeners.find(80, host) else {
        return "no listener".into();
    };
    let path = clean(path);
    let asked = Asked {
        path: &path,
        query: "",
        method: &Method::GET,
        headers: &headers,
    };
    match listener.find(host, &asked).map(|target| &**target) {
        None => "404".into(),
        Some(Target::Redirect(to)) => format!(
            "{} {}",
            to.status.as_u16(),
            to.location(host, 80, false, &path.parse().unwrap())
        ),
        Some(Target::Send(shares, treatment)) => {
            let to = shares.next().map_or("500".to_owned(), |to| to.name.clone());
            let path = treatment.path.as_ref().map(|change| change.apply(&path));
            format!("{to} {}", path.unwrap_or_default())
                .trim_end()
                .to_owned()
        }
    }
}

#[test]
fn rules_do_what_they_say() {
    let prefix = |path: &str| json!({"path": {"type": "PathPrefix", "value": path}});
    let rules = json!([
        {"matches": [prefix("/a"), prefix("/b/")], "backendRefs": [{"name": "a", "port": 80}]},
        {"matches": [prefix("/none")], "backendRefs": [{"name": "nobody", "port": 80}]},
        {"matches": [prefix("/empty")]},
        {"matches": [prefix("/idle")], "backendRefs": [{"name": "b", "port": 80, "weight": 0}, {"name": "a", "port": 80}]},
        {"matches": [prefix("/old")], "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}}],
            "backendRefs": [{"name": "a", "port": 80}]},
        {"matches": [prefix("/away")], "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301,
            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/there"}}}]},
    ]);
    let plan = planned(vec![
        gateway("g", 0, json!([with(web(), json!({"hostname": "*.io"}))])),
        route("n", "r", json!({"hostnames": ["a.io"], "rules": rules})),
        route("n", "all", to("b")),
    ]);
    for (host, path, wanted) in [
        ("a.io", "/a/1", "n/a:80"),
        ("a.io", "/b", "n/a:80"),
        ("a.io", "/none", "500"),
        ("a.io", "/empty", "500"),
        ("a.io", "/idle", "n/a:80"),
        ("a.io", "/old/x", "n/a:80 /new/x"),
        ("a.io", "/away", "301 https://a.io/there"),
        ("a.io", "/else", "n/b:80"),
        ("b.io", "/a/1", "n/b:80"),
        ("b.example", "/a/1", "no listener"),
    ] {
        assert_eq!(done(&plan, host, path), wanted, "{host} {path}");
    }
}
