//! Ingresses, ingress classes, endpoints and endpoint slices.
//! Invariant: a backend whose service is not there says so in its line.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, head, labels, list, n, s, scalar, texts};
use super::{Kube, Out, service};
use crate::client::segment;
use crate::error::Result;
use serde_json::Value;

async fn backend(kube: &Kube, namespace: &str, b: &Value) -> String {
    let svc = &b["service"];
    if svc.is_null() {
        let r = &b["resource"];
        return if r.is_null() {
            String::new()
        } else {
            format!(
                "APIGroup: {}, Kind: {}, Name: {}",
                r["apiGroup"].as_str().unwrap_or("<none>"),
                s(r, "kind"),
                s(r, "name")
            )
        };
    }
    let (name, port) = (s(svc, "name"), &svc["port"]);
    let shown = format!(
        "{name}:{}",
        if port["number"].is_null() {
            s(port, "name").to_string()
        } else {
            scalar(&port["number"])
        }
    );
    let slices = service::slices(kube, namespace, name).await;
    let found = match kube
        .get(&format!(
            "/api/v1/namespaces/{}/services/{}",
            segment(namespace),
            segment(name)
        ))
        .await
    {
        Ok(x) => x,
        Err(e) => return format!("{shown} (<error: {e}>)"),
    };
    let mut port_name = "";
    for p in list(&found["spec"], "ports") {
        if (!port["number"].is_null() && p["port"] == port["number"])
            || (!s(port, "name").is_empty() && p["name"] == port["name"])
        {
            port_name = s(p, "name");
        }
    }
    format!("{shown} ({})", service::endpoints(&slices, port_name))
}

pub async fn ingress(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (m, spec) = (&o["metadata"], &o["spec"]);
    let namespace = s(m, "namespace");
    out.field("Name", s(m, "name"));
    labels(&mut out, "Labels", &m["labels"]);
    out.field("Namespace", namespace);
    let mut addresses: Vec<String> = list(&o["status"]["loadBalancer"], "ingress")
        .iter()
        .map(|i| {
            if s(i, "ip").is_empty() {
                s(i, "hostname").into()
            } else {
                s(i, "ip").into()
            }
        })
        .collect();
    addresses.sort();
    out.field("Address", addresses.join(","));
    out.field(
        "Ingress Class",
        spec["ingressClassName"].as_str().unwrap_or("<none>"),
    );
    let default = if spec["defaultBackend"].is_null() {
        "<default>".into()
    } else {
        backend(&kube, namespace, &spec["defaultBackend"]).await
    };
    out.field("Default backend", &default);
    if !list(spec, "tls").is_empty() {
        out.put(0, "TLS:\n");
        for t in list(spec, "tls") {
            let hosts = texts(t, "hosts").join(",");
            out.put(
                1,
                if s(t, "secretName").is_empty() {
                    format!("SNI routes {hosts}\n")
                } else {
                    format!("{} terminates {hosts}\n", s(t, "secretName"))
                },
            );
        }
    }
    out.put(0, "Rules:\n  Host\tPath\tBackends\n");
    out.put(1, "----\t----\t--------\n");
    let mut any = false;
    for rule in list(spec, "rules").iter().filter(|r| !r["http"].is_null()) {
        any = true;
        out.put(
            1,
            format!(
                "{}\t\n",
                if s(rule, "host").is_empty() {
                    "*"
                } else {
                    s(rule, "host")
                }
            ),
        );
        for path in list(&rule["http"], "paths") {
            out.put(
                2,
                format!(
                    "\t{} \t{}\n",
                    s(path, "path"),
                    backend(&kube, namespace, &path["backend"]).await
                ),
            );
        }
    }
    if !any {
        out.put(1, format!("*\t*\t{default}\n"));
    }
    annotations(&mut out, "Annotations", &m["annotations"]);
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn ingress_class(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    out.field("Controller", s(&o["spec"], "controller"));
    let p = &o["spec"]["parameters"];
    if !p.is_null() {
        out.put(0, "Parameters:\n");
        if !s(p, "apiGroup").is_empty() {
            out.put(1, format!("APIGroup:\t{}\n", s(p, "apiGroup")));
        }
        out.put(1, format!("Kind:\t{}\n", s(p, "kind")));
        out.put(1, format!("Name:\t{}\n", s(p, "name")));
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn endpoints(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    out.put(0, "Subsets:\n");
    for subset in list(&o, "subsets") {
        for (field, label) in [
            ("addresses", "Addresses"),
            ("notReadyAddresses", "NotReadyAddresses"),
        ] {
            let ips: Vec<&str> = list(subset, field).iter().map(|a| s(a, "ip")).collect();
            out.put(
                1,
                format!(
                    "{label}:\t{}\n",
                    if ips.is_empty() {
                        "<none>".into()
                    } else {
                        ips.join(",")
                    }
                ),
            );
        }
        if !list(subset, "ports").is_empty() {
            out.put(1, "Ports:\n");
            out.put(2, "Name\tPort\tProtocol\n");
            out.put(2, "----\t----\t--------\n");
            list(subset, "ports").iter().for_each(|p| {
                out.put(
                    2,
                    format!(
                        "{}\t{}\t{}\n",
                        unset(s(p, "name")),
                        n(p, "port"),
                        s(p, "protocol")
                    ),
                )
            });
        }
        out.put(0, "\n");
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn unset(text: &str) -> &str {
    if text.is_empty() { "<unset>" } else { text }
}

pub async fn endpoint_slice(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    out.field("AddressType", s(&o, "addressType"));
    if list(&o, "ports").is_empty() {
        out.put(0, "Ports: <unset>\n");
    } else {
        out.put(0, "Ports:\n");
        out.put(1, "Name\tPort\tProtocol\n");
        out.put(1, "----\t----\t--------\n");
        for p in list(&o, "ports") {
            let number = p["port"]
                .as_i64()
                .map_or_else(|| "<unset>".into(), |x| x.to_string());
            out.put(
                1,
                format!(
                    "{}\t{number}\t{}\n",
                    unset(s(p, "name")),
                    unset(s(p, "protocol"))
                ),
            );
        }
    }
    if list(&o, "endpoints").is_empty() {
        out.put(0, "Endpoints: <none>\n");
    } else {
        out.put(0, "Endpoints:\n");
    }
    for e in list(&o, "endpoints") {
        let addresses = texts(e, "addresses").join(", ");
        out.put(
            1,
            format!(
                "- Addresses:\t{}\n",
                if addresses.is_empty() {
                    "<none>"
                } else {
                    &addresses
                }
            ),
        );
        out.put(2, "Conditions:\n");
        let ready = &e["conditions"]["ready"];
        out.put(
            3,
            format!(
                "Ready:\t{}\n",
                if ready.is_null() {
                    "<unset>".into()
                } else {
                    ready.to_string()
                }
            ),
        );
        out.put(2, format!("Hostname:\t{}\n", unset(s(e, "hostname"))));
        if !e["targetRef"].is_null() {
            out.put(
                2,
                format!(
                    "TargetRef:\t{}/{}\n",
                    s(&e["targetRef"], "kind"),
                    s(&e["targetRef"], "name")
                ),
            );
        }
        out.put(2, format!("NodeName:\t{}\n", unset(s(e, "nodeName"))));
        out.put(2, format!("Zone:\t{}\n", unset(s(e, "zone"))));
        let topology = e["deprecatedTopology"].as_object();
        if let Some(map) = topology.filter(|m| !m.is_empty()) {
            out.put(2, "Topology:\t");
            map.iter()
                .for_each(|(k, v)| out.put(0, format!("{k}={}\n", scalar(v))));
        }
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}
