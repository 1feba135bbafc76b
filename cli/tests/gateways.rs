//! Gateways and their routes on a real node, asked by curl as a user would, from the day that somebody installs the kinds to the day that they are gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    ingress::{certificate, curl},
    support::{Cluster, missing, skip, wait},
};

const MINUTE: Duration = Duration::from_secs(60);
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/manifests");

fn object(kind: &str, name: &str, spec: Value) -> String {
    let version = match kind {
        "ReferenceGrant" => "v1beta1",
        _ => "v1",
    };
    json!({"apiVersion": format!("gateway.networking.k8s.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
}

/// A route of a host to the shop's front, by one rule with these further fields.
fn route(name: &str, host: &str, more: Value) -> String {
    let mut rule = json!({"backendRefs": [{"name": "front", "port": 80}]});
    if let (Value::Object(rule), Value::Object(more)) = (&mut rule, more) {
        rule.extend(more);
    }
    let spec = json!({"parentRefs": [{"name": "gate"}], "hostnames": [host], "rules": [rule]});
    object("HTTPRoute", name, spec)
}

/// Waits until a condition of an object says this.
fn until(cluster: &Cluster, (what, path): (&str, &str), wanted: &str) {
    wait(MINUTE, wanted, || {
        let path = format!("jsonpath={path}");
        let said = cluster.skiff(&["get", what, "-o", &path]);
        if said == wanted { Ok(()) } else { Err(said) }
    });
}

/// The status and the location of an answer, and what it says.
fn ask(url: &str, resolve: &str, more: &[&str]) -> Result<String, String> {
    let format = "%{http_code} %{redirect_url} ";
    curl(&[&["--resolve", resolve, "-w", format, url], more].concat())
}

fn answers(url: &str, resolve: &str, more: &[&str], wanted: &str) {
    wait(MINUTE, wanted, || {
        let said = ask(url, resolve, more)?;
        if said.contains(wanted) {
            Ok(())
        } else {
            Err(said)
        }
    });
}

const ACCEPTED: &str = "{.status.parents[0].conditions[?(@.type=='Accepted')].reason}";
const RESOLVED: &str = "{.status.parents[0].conditions[?(@.type=='ResolvedRefs')].reason}";

fn routes(cluster: &Cluster, address: &str) {
    let http = format!("shop.gate.example:80:{address}");
    cluster.apply(&route("plain", "shop.gate.example", json!({})));
    answers("http://shop.gate.example/", &http, &[], "shop v1");
    // another port has the same route
    let at = format!("shop.gate.example:8080:{address}");
    answers("http://shop.gate.example:8080/", &at, &[], "shop v1");
    let redirect = json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}],
        "backendRefs": []});
    cluster.apply(&route("away", "away.gate.example", redirect));
    let away = format!("away.gate.example:80:{address}");
    answers(
        "http://away.gate.example/x?y",
        &away,
        &[],
        "301 https://away.gate.example/x?y ",
    );
    // a rule with a header goes before one without
    let header = json!({"matches": [{"headers": [{"name": "x-nobody", "value": "1"}]}], "backendRefs": [{"name": "nobody", "port": 80}]});
    cluster.apply(&route("header", "shop.gate.example", header));
    until(cluster, ("httproute/header", RESOLVED), "BackendNotFound");
    answers(
        "http://shop.gate.example/",
        &http,
        &["-H", "X-Nobody: 1"],
        "500 ",
    );
    answers("http://shop.gate.example/", &http, &[], "shop v1");
    let mirror = json!({"filters": [{"type": "RequestMirror"}]});
    cluster.apply(&route("mirror", "mirror.gate.example", mirror));
    until(cluster, ("httproute/mirror", ACCEPTED), "UnsupportedValue");
    cluster.apply(&route("elsewhere", "shop.example", json!({})));
    until(
        cluster,
        ("httproute/elsewhere", ACCEPTED),
        "NoMatchingListenerHostname",
    );
}

fn by_tls(cluster: &Cluster, address: &str) {
    let trusted = certificate(cluster, "tls.gate.example");
    cluster.apply(&route("tls", "tls.gate.example", json!({})));
    for port in [443, 8443] {
        let at = format!("tls.gate.example:{port}:{address}");
        let url = format!("https://tls.gate.example:{port}/");
        answers(&url, &at, &["--cacert", &trusted], "shop v1");
    }
}

#[test]
fn a_shop_behind_a_gateway() {
    if let Some(why) = missing(&["curl"]) {
        return skip(&why);
    }
    let mut cluster = Cluster::start(&["--nodes", "1"]);
    let file = |name: &str| format!("{MANIFESTS}/{name}");
    cluster.skiff(&["apply", "-f", &file("shop.yaml")]);
    cluster.skiff(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    cluster.skiff(&["apply", "-f", &file("gateway-kinds.yaml")]);
    let class = "{.status.conditions[?(@.type=='Accepted')].status}";
    wait(MINUTE, "the class of gateways", || {
        let path = format!("jsonpath={class}");
        let args = [
            "get",
            "gatewayclass/skiff",
            "--ignore-not-found",
            "-o",
            &path,
        ];
        match cluster.skiff(&args).as_str() {
            "True" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let tls = json!({"certificateRefs": [{"name": "shop"}]});
    let listener = |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol, "hostname": "*.gate.example"});
    let secure = |name: &str, port: u16| {
        let mut listener = listener(name, port, "HTTPS");
        listener["tls"] = tls.clone();
        listener
    };
    let listeners = json!([
        listener("web", 80, "HTTP"),
        listener("more", 8080, "HTTP"),
        secure("tls", 443),
        secure("tls2", 8443)
    ]);
    let gateway = json!({"gatewayClassName": "skiff", "listeners": listeners});
    cluster.apply(&object("Gateway", "gate", gateway));
    until(
        &cluster,
        ("gateway/gate", "{.status.conditions[*].reason}"),
        "ListenersNotValid Programmed",
    );
    let address = cluster.skiff(&[
        "get",
        "gateway/gate",
        "-o",
        "jsonpath={.status.addresses[*].value}",
    ]);
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    routes(&cluster, &address);
    by_tls(&cluster, &address);
    until(
        &cluster,
        ("gateway/gate", "{.status.conditions[*].reason}"),
        "Accepted Programmed",
    );
    let attached = "{.status.listeners[?(@.name=='web')].attachedRoutes}";
    until(&cluster, ("gateway/gate", attached), "4");
    // a port that no listener needs is shut
    let fewer = json!([{"op": "remove", "path": "/spec/listeners/1"}]).to_string();
    cluster.skiff(&["patch", "gateway/gate", "--type=json", "-p", &fewer]);
    wait(
        MINUTE,
        "the port to be shut",
        || match std::net::TcpStream::connect(format!("{address}:8080")) {
            Ok(_) => Err("it is open".to_owned()),
            Err(_) => Ok(()),
        },
    );
    // with the kinds all that they served is gone
    cluster.skiff(&["delete", "-f", &file("gateway-kinds.yaml")]);
    let at = format!("shop.gate.example:80:{address}");
    answers("http://shop.gate.example/", &at, &[], "404 ");
    cluster.down();
    let left = cluster.left();
    assert!(left.is_empty(), "left behind: {left:?}");
}
