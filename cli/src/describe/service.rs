//! Services.
//! Invariant: endpoints are those of the slices that name the service.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{format_labels, head, list, n, s, scalar, texts};
use super::{Kube, Out};
use crate::client::segment;
use crate::error::Result;
use serde_json::Value;

/// The endpoint slices of a service.
pub async fn slices(kube: &Kube, namespace: &str, name: &str) -> Vec<Value> {
    let label = format!("kubernetes.io/service-name={name}");
    kube.items(
        &format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
            segment(namespace)
        ),
        &[("labelSelector", &label)],
    )
    .await
}

/// Addresses of the ready endpoints at the port of that name; three of them, and how many more.
pub fn endpoints(slices: &[Value], port: &str) -> String {
    let mut all = Vec::new();
    for slice in slices {
        let ports: Vec<&Value> = list(slice, "ports")
            .iter()
            .filter(|p| s(p, "name") == port)
            .collect();
        if list(slice, "ports").is_empty() {
            list(slice, "endpoints")
                .iter()
                .for_each(|e| all.extend(texts(e, "addresses").first().cloned()));
            continue;
        }
        for p in ports {
            for e in list(slice, "endpoints")
                .iter()
                .filter(|e| e["conditions"]["ready"] != false)
            {
                all.extend(texts(e, "addresses").first().map(|a| {
                    if a.contains(':') {
                        format!("[{a}]:{}", n(p, "port"))
                    } else {
                        format!("{a}:{}", n(p, "port"))
                    }
                }));
            }
        }
    }
    let more = if all.len() > 3 {
        format!(" + {} more...", all.len() - 3)
    } else {
        String::new()
    };
    all.truncate(3);
    format!("{}{more}", all.join(","))
}

pub async fn describe(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let spec = &o["spec"];
    let none = |v: Vec<String>| {
        if v.is_empty() {
            "<none>".to_string()
        } else {
            v.join(",")
        }
    };
    head(&mut out, &o);
    out.field("Selector", format_labels(&spec["selector"]));
    out.field("Type", s(spec, "type"));
    if !spec["ipFamilyPolicy"].is_null() {
        out.field("IP Family Policy", s(spec, "ipFamilyPolicy"));
    }
    out.field("IP Families", none(texts(spec, "ipFamilies")));
    out.field("IP", s(spec, "clusterIP"));
    out.field("IPs", none(texts(spec, "clusterIPs")));
    if !list(spec, "externalIPs").is_empty() {
        out.field("External IPs", texts(spec, "externalIPs").join(","));
    }
    for (label, field) in [
        ("Desired LoadBalancer IP", "loadBalancerIP"),
        ("External Name", "externalName"),
    ] {
        if !s(spec, field).is_empty() {
            out.field(label, s(spec, field));
        }
    }
    let ingress = list(&o["status"]["loadBalancer"], "ingress");
    if !ingress.is_empty() {
        let one = |i: &Value| match (s(i, "ip"), i["ipMode"].as_str()) {
            ("", _) => s(i, "hostname").to_string(),
            (ip, Some(mode)) => format!("{ip} ({mode})"),
            (ip, None) => ip.to_string(),
        };
        out.field(
            "LoadBalancer Ingress",
            ingress.iter().map(one).collect::<Vec<_>>().join(", "),
        );
    }
    let slices = slices(
        &kube,
        s(&o["metadata"], "namespace"),
        s(&o["metadata"], "name"),
    )
    .await;
    for p in list(spec, "ports") {
        let name = if s(p, "name").is_empty() {
            "<unset>"
        } else {
            s(p, "name")
        };
        let protocol = s(p, "protocol");
        out.field("Port", format!("{name}\t{}/{protocol}", n(p, "port")));
        out.field(
            "TargetPort",
            format!("{}/{protocol}", scalar(&p["targetPort"])),
        );
        if !p["appProtocol"].is_null() {
            out.field("AppProtocol", s(p, "appProtocol"));
        }
        if n(p, "nodePort") != 0 {
            out.field(
                "NodePort",
                format!("{name}\t{}/{protocol}", n(p, "nodePort")),
            );
        }
        out.field("Endpoints", endpoints(&slices, s(p, "name")));
    }
    out.field("Session Affinity", s(spec, "sessionAffinity"));
    for (label, field) in [
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
    ] {
        if !s(spec, field).is_empty() {
            out.field(label, s(spec, field));
        }
    }
    if n(spec, "healthCheckNodePort") != 0 {
        out.field("HealthCheck NodePort", n(spec, "healthCheckNodePort"));
    }
    if !list(spec, "loadBalancerSourceRanges").is_empty() {
        out.field(
            "LoadBalancer Source Ranges",
            texts(spec, "loadBalancerSourceRanges").join(","),
        );
    }
    if !s(spec, "trafficDistribution").is_empty() {
        out.field("Traffic Distribution", s(spec, "trafficDistribution"));
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}
