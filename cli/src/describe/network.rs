//! Services, ingresses, ingress classes, endpoints and endpoint slices.
//! Invariant: endpoints are those of the service's own slices; a backend whose service is not there says so in its line.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Do, Each, Form, If, In, Table, Text, Unless};
use super::form::{ANNOTATIONS, HEAD, LABELS, NAME, NAMESPACE, put, shown};
use super::{Describer, Kube, Out};
use crate::client::segment;
use crate::error::Result;
use crate::typed::Read;
use serde_json::{Value, json};

pub const KINDS: &[Describer] = &[
    Describer::new("", "Service", SERVICE).with(|kube, service| {
        Box::pin(async move {
            Ok(json!(
                slices(&kube, &service, shown(&service, "metadata.name")).await
            ))
        })
    }),
    Describer::new("", "Endpoints", ENDPOINTS),
    Describer::new("discovery.k8s.io", "EndpointSlice", ENDPOINT_SLICE),
    Describer::new("networking.k8s.io", "Ingress", INGRESS)
        .with(|kube, ingress| Box::pin(backends(kube, ingress))),
    Describer::new("networking.k8s.io", "IngressClass", INGRESS_CLASS),
];

const SERVICE: &[Line] = &[
    HEAD,
    Form(
        0,
        "
        Selector: {spec.selector|labels?<none>}
        Type: {spec.type}
        ?IP Family Policy: {spec.ipFamilyPolicy}
        IP Families: {spec.ipFamilies?<none>}
        IP: {spec.clusterIP}
        IPs: {spec.clusterIPs?<none>}
        ?External IPs: {spec.externalIPs}
        ?Desired LoadBalancer IP: {spec.loadBalancerIP}
        ?External Name: {spec.externalName}",
    ),
    Do(load_balancer),
    Do(ports),
    Form(
        0,
        "
        Session Affinity: {spec.sessionAffinity}
        ?External Traffic Policy: {spec.externalTrafficPolicy}
        ?Internal Traffic Policy: {spec.internalTrafficPolicy}
        ?HealthCheck NodePort: {spec.healthCheckNodePort}
        ?LoadBalancer Source Ranges: {spec.loadBalancerSourceRanges}
        ?Traffic Distribution: {spec.trafficDistribution}",
    ),
];

const PORT: &[Line] = &[
    Form(
        0,
        "
        Port:  {name?<unset>}  {port}/{protocol}
        TargetPort: {targetPort}/{protocol}
        ?AppProtocol: {appProtocol}",
    ),
    If(
        "nodePort",
        &[Form(0, "NodePort:  {name?<unset>}  {nodePort}/{protocol}")],
    ),
];

fn ports(out: &mut Out, service: &Value) {
    for port in service.at("spec").list("ports") {
        put(out, port, PORT);
        let slices = service.list("related");
        out.field("Endpoints", endpoints(slices, port.text("name")));
    }
}

fn load_balancer(out: &mut Out, service: &Value) {
    let ingress = service.at("status").at("loadBalancer").list("ingress");
    let one = |i: &Value| match (i.text("ip"), i.text_ptr("ipMode")) {
        ("", _) => i.text("hostname").to_string(),
        (ip, Some(mode)) => format!("{ip} ({mode})"),
        (ip, None) => ip.to_string(),
    };
    if !ingress.is_empty() {
        let all: Vec<String> = ingress.iter().map(one).collect();
        out.field("LoadBalancer Ingress", all.join(", "));
    }
}

/// The endpoint slices of the service of that name beside an object.
async fn slices(kube: &Kube, object: &Value, service: String) -> Vec<Value> {
    let label = format!("kubernetes.io/service-name={service}");
    let chosen = [("labelSelector", label.as_str())];
    kube.beside(
        object,
        "/apis/discovery.k8s.io/v1",
        "endpointslices",
        &chosen,
    )
    .await
}

/// Addresses of the endpoints, but those that are not ready, at the port of that name; three of them, and how many more.
fn endpoints(slices: &[Value], port: &str) -> String {
    if slices.is_empty() {
        return "<none>".into();
    }
    let mut all = Vec::new();
    for slice in slices {
        let named = slice
            .list("ports")
            .iter()
            .filter(|p| p.text("name") == port);
        // a headless service may have no ports at all
        let mut numbers: Vec<_> = named.map(|p| Some(p.int("port"))).collect();
        if slice.list("ports").is_empty() {
            numbers.push(None);
        }
        for number in numbers {
            let ready = slice
                .list("endpoints")
                .iter()
                .filter(|e| e.at("conditions").flag_ptr("ready") != Some(false));
            all.extend(ready.filter_map(|e| {
                let address = e.texts("addresses").next()?;
                Some(match number {
                    None => address.to_string(),
                    Some(number) if address.contains(':') => format!("[{address}]:{number}"),
                    Some(number) => format!("{address}:{number}"),
                })
            }));
        }
    }
    let more = match all.len() {
        0..=3 => String::new(),
        many => format!(" + {} more...", many - 3),
    };
    all.truncate(3);
    format!("{}{more}", all.join(","))
}

const INGRESS: &[Line] = &[
    NAME,
    LABELS,
    NAMESPACE,
    Do(|out, ingress| {
        let all = ingress.at("status").at("loadBalancer").list("ingress");
        let mut addresses: Vec<&str> = all
            .iter()
            .map(|i| i.text_ptr("ip").unwrap_or_else(|| i.text("hostname")))
            .collect();
        addresses.sort_unstable();
        out.field("Address", addresses.join(","));
    }),
    Form(
        0,
        "
        Ingress Class: {spec.ingressClassName?<none>}
        Default backend: {related.default?<default>}",
    ),
    If("spec.tls", &[Text("TLS:")]),
    Each(
        "spec.tls",
        &[
            If("secretName", &[Text("  {secretName} terminates {hosts}")]),
            Unless("secretName", &[Text("  SNI routes {hosts}")]),
        ],
    ),
    Text("Rules:"),
    Table("  Host\tPath\tBackends", "", ""),
    Each(
        "related.rules",
        &[
            Text("  {host?*}\t"),
            Each("paths", &[Text("    \t{path} \t{backend}")]),
        ],
    ),
    Unless(
        "related.rules",
        &[Text("  *\t*\t{related.default?<default>}")],
    ),
    ANNOTATIONS,
];

/// The backends of an ingress: the default one, and those of each rule with its paths.
async fn backends(kube: Kube, ingress: Value) -> Result<Value> {
    let spec = ingress.at("spec");
    let mut rules = Vec::new();
    for rule in spec
        .list("rules")
        .iter()
        .filter(|r| r.some("http").is_some())
    {
        let mut paths = Vec::new();
        for path in rule.at("http").list("paths") {
            let to = backend(&kube, &ingress, path.at("backend")).await;
            paths.push(json!({"path": path.text("path"), "backend": to}));
        }
        rules.push(json!({"host": rule.some("host"), "paths": paths}));
    }
    let default = match spec.some("defaultBackend") {
        Some(default) => Some(backend(&kube, &ingress, default).await),
        None => None,
    };
    Ok(json!({"default": default, "rules": rules}))
}

async fn backend(kube: &Kube, ingress: &Value, backend: &Value) -> String {
    let Some(service) = backend.some("service") else {
        let resource = backend.at("resource");
        return if resource.is_null() {
            String::new()
        } else {
            let (kind, name) = (resource.text("kind"), resource.text("name"));
            let group = resource.text_ptr("apiGroup").unwrap_or("<none>");
            format!("APIGroup: {group}, Kind: {kind}, Name: {name}")
        };
    };
    let (name, port) = (service.text("name"), service.at("port"));
    let (number, called) = (port.int("number"), port.text("name"));
    let place = match number {
        0 => format!("{name}:{called}"),
        number => format!("{name}:{number}"),
    };
    let slices = slices(kube, ingress, name.into()).await;
    let namespace = segment(ingress.at("metadata").text("namespace"));
    let path = format!("/api/v1/namespaces/{namespace}/services/{}", segment(name));
    let found = match kube.get(&path).await {
        Ok(found) => found,
        Err(error) => return format!("{place} (<error: {error}>)"),
    };
    let fits = |p: &&Value| {
        (number != 0 && p.int("port") == number) || (!called.is_empty() && p.text("name") == called)
    };
    let ports = found.at("spec").list("ports");
    let port = ports.iter().rev().find(fits).map_or("", |p| p.text("name"));
    format!("{place} ({})", endpoints(&slices, port))
}

const INGRESS_CLASS: &[Line] = &[
    HEAD,
    Form(0, "Controller: {spec.controller}"),
    In(
        "spec.parameters",
        &[Form(
            0,
            "
        Parameters:
          ?APIGroup: {apiGroup}
          Kind: {kind}
          Name: {name}",
        )],
    ),
];

const ENDPOINTS: &[Line] = &[
    HEAD,
    Form(0, "Subsets:"),
    Each(
        "subsets",
        &[
            Do(|out, subset| {
                for (title, field) in [
                    ("Addresses", "addresses"),
                    ("NotReadyAddresses", "notReadyAddresses"),
                ] {
                    let ips: Vec<&str> = subset.list(field).iter().map(|a| a.text("ip")).collect();
                    let ips = if ips.is_empty() {
                        "<none>".into()
                    } else {
                        ips.join(",")
                    };
                    out.put(1, format!("{title}:\t{ips}\n"));
                }
            }),
            If(
                "ports",
                &[
                    Form(1, "Ports:"),
                    Table(
                        "    Name\tPort\tProtocol",
                        "ports",
                        "    {name?<unset>}\t{port}\t{protocol}",
                    ),
                ],
            ),
            Text(""),
        ],
    ),
];

const ENDPOINT_SLICE: &[Line] = &[
    HEAD,
    Form(0, "AddressType: {addressType}"),
    Unless("ports", &[Text("Ports: <unset>")]),
    If(
        "ports",
        &[
            Form(0, "Ports:"),
            Table(
                "  Name\tPort\tProtocol",
                "ports",
                "  {name|Set?<unset>}\t{port?<unset>}\t{protocol?<unset>}",
            ),
        ],
    ),
    Unless("endpoints", &[Text("Endpoints: <none>")]),
    If("endpoints", &[Form(0, "Endpoints:")]),
    Each("endpoints", ENDPOINT),
];

const ENDPOINT: &[Line] = &[Form(
    1,
    "
        - Addresses: {addresses|list?<none>}
          Conditions:
            Ready: {conditions.ready?<unset>}
          Hostname: {hostname?<unset>}
          ?TargetRef: {targetRef.kind}/{targetRef.name}
          NodeName: {nodeName?<unset>}
          Zone: {zone?<unset>}",
)];
