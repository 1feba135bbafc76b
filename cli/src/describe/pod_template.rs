//! Containers, probes, environment and mounts, of pods and of pod templates.
//! Invariant: without a status nothing is said of what runs.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, labels, list, multiline, n, s, scalar, selector, texts};
use super::volumes;
use super::{Out, date, quantity};
use crate::error::quote;
use serde_json::Value;

/// A pod template.
pub fn template(out: &mut Out, t: &Value) {
    out.put(0, "Pod Template:\n");
    if t.is_null() {
        out.put(1, "<unset>");
        return;
    }
    labels(out, "  Labels", &t["metadata"]["labels"]);
    if t["metadata"]["annotations"]
        .as_object()
        .is_some_and(|a| !a.is_empty())
    {
        annotations(out, "  Annotations", &t["metadata"]["annotations"]);
    }
    let spec = &t["spec"];
    if !s(spec, "serviceAccountName").is_empty() {
        out.put(
            1,
            format!("Service Account:\t{}\n", s(spec, "serviceAccountName")),
        );
    }
    if !list(spec, "initContainers").is_empty() {
        containers(
            out,
            "Init Containers",
            list(spec, "initContainers"),
            &[],
            None,
            "  ",
        );
    }
    containers(out, "Containers", list(spec, "containers"), &[], None, "  ");
    volumes::all(out, list(spec, "volumes"), "  ");
    spread(out, list(spec, "topologySpreadConstraints"), "  ");
    if !s(spec, "priorityClassName").is_empty() {
        out.put(
            1,
            format!("Priority Class Name:\t{}\n", s(spec, "priorityClassName")),
        );
    }
    labels(out, "  Node-Selectors", &spec["nodeSelector"]);
    tolerations(out, "  Tolerations", list(spec, "tolerations"));
}

/// A list of containers; `pod` is given where fields of it are known.
pub fn containers(
    out: &mut Out,
    title: &str,
    all: &[Value],
    statuses: &[Value],
    pod: Option<&Value>,
    space: &str,
) {
    out.put(
        0,
        format!(
            "{space}{title}:{}\n",
            if all.is_empty() { " <none>" } else { "" }
        ),
    );
    let indent = if space.is_empty() { "" } else { " " };
    for c in all {
        let status = statuses.iter().find(|x| x["name"] == c["name"]);
        out.put(1, format!("{indent}{}:\n", s(c, "name")));
        basics(out, c, status);
        for (field, label) in [("command", "Command"), ("args", "Args")] {
            if !list(c, field).is_empty() {
                out.put(2, format!("{label}:\n"));
                texts(c, field)
                    .iter()
                    .flat_map(|t| t.split('\n'))
                    .for_each(|l| out.put(3, format!("{l}\n")));
            }
        }
        if let Some(st) = status {
            state(out, "State", &st["state"]);
            if !st["lastState"]["terminated"].is_null() {
                state(out, "Last State", &st["lastState"]);
            }
            out.put(2, format!("Ready:\t{}\n", super::text::yes(&st["ready"])));
            out.put(2, format!("Restart Count:\t{}\n", n(st, "restartCount")));
        }
        resources(out, &c["resources"], 2);
        for (field, label) in [
            ("livenessProbe", "Liveness"),
            ("readinessProbe", "Readiness"),
            ("startupProbe", "Startup"),
        ] {
            if !c[field].is_null() {
                out.put(2, format!("{label}:\t{}\n", probe(&c[field])));
            }
        }
        env_from(out, c);
        env(out, c, pod);
        mounts(out, c);
    }
}

fn basics(out: &mut Out, c: &Value, status: Option<&Value>) {
    if let Some(st) = status {
        out.put(2, format!("Container ID:\t{}\n", s(st, "containerID")));
    }
    out.put(2, format!("Image:\t{}\n", s(c, "image")));
    if let Some(st) = status {
        out.put(2, format!("Image ID:\t{}\n", s(st, "imageID")));
    }
    for (label, field) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let shown: Vec<String> = list(c, "ports")
            .iter()
            .map(|p| {
                let name = s(p, "name");
                let suffix = if name.is_empty() {
                    String::new()
                } else {
                    format!(" ({name})")
                };
                format!(
                    "{}/{}{suffix}",
                    n(p, field),
                    p["protocol"].as_str().unwrap_or("TCP")
                )
            })
            .collect();
        match shown.as_slice() {
            [] => out.put(2, format!("{label}:\t<none>\n")),
            [one] => out.put(2, format!("{label}:\t{one}\n")),
            many => out.put(2, format!("{label}s:\t{}\n", many.join(", "))),
        }
    }
    let profile = &c["securityContext"]["seccompProfile"];
    if !profile.is_null() {
        out.put(2, format!("SeccompProfile:\t{}\n", s(profile, "type")));
        if s(profile, "type") == "Localhost" {
            out.put(
                3,
                format!("LocalhostProfile:\t{}\n", s(profile, "localhostProfile")),
            );
        }
    }
}

fn state(out: &mut Out, label: &str, v: &Value) {
    if !v["running"].is_null() {
        out.put(2, format!("{label}:\tRunning\n"));
        out.put(
            3,
            format!("Started:\t{}\n", date(&v["running"]["startedAt"])),
        );
    } else if !v["terminated"].is_null() {
        let t = &v["terminated"];
        out.put(2, format!("{label}:\tTerminated\n"));
        for (field, name) in [("reason", "Reason"), ("message", "Message")] {
            if !s(t, field).is_empty() {
                out.put(3, format!("{name}:\t{}\n", s(t, field)));
            }
        }
        out.put(3, format!("Exit Code:\t{}\n", n(t, "exitCode")));
        if n(t, "signal") > 0 {
            out.put(3, format!("Signal:\t{}\n", n(t, "signal")));
        }
        out.put(3, format!("Started:\t{}\n", date(&t["startedAt"])));
        out.put(3, format!("Finished:\t{}\n", date(&t["finishedAt"])));
    } else {
        out.put(2, format!("{label}:\tWaiting\n"));
        if !s(&v["waiting"], "reason").is_empty() {
            out.put(3, format!("Reason:\t{}\n", s(&v["waiting"], "reason")));
        }
    }
}

/// Limits and requests.
pub fn resources(out: &mut Out, r: &Value, level: usize) {
    for (field, label) in [("limits", "Limits"), ("requests", "Requests")] {
        let Some(map) = r[field].as_object().filter(|m| !m.is_empty()) else {
            continue;
        };
        out.put(level, format!("{label}:\n"));
        map.iter().for_each(|(k, v)| {
            out.put(
                level + 1,
                format!("{k}:\t{}\n", quantity::canonical(&scalar(v))),
            )
        });
    }
}

fn probe(p: &Value) -> String {
    let or = |f: &str, d: i64| p[f].as_i64().unwrap_or(d);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        n(p, "initialDelaySeconds"),
        or("timeoutSeconds", 1),
        or("periodSeconds", 10),
        or("successThreshold", 1),
        or("failureThreshold", 3)
    );
    if !p["exec"].is_null() {
        return format!(
            "exec [{}] {attributes}",
            texts(&p["exec"], "command").join(" ")
        );
    }
    let h = &p["httpGet"];
    if !h.is_null() {
        let path = s(h, "path");
        let slash = if path.is_empty() || path.starts_with('/') {
            ""
        } else {
            "/"
        };
        return format!(
            "http-get {}://{}:{}{slash}{path} {attributes}",
            h["scheme"].as_str().unwrap_or("HTTP").to_lowercase(),
            s(h, "host"),
            scalar(&h["port"])
        );
    }
    let t = &p["tcpSocket"];
    if !t.is_null() {
        return format!(
            "tcp-socket {}:{} {attributes}",
            s(t, "host"),
            scalar(&t["port"])
        );
    }
    if !p["grpc"].is_null() {
        return format!(
            "grpc <pod>:{} {} {attributes}",
            n(&p["grpc"], "port"),
            s(&p["grpc"], "service")
        );
    }
    format!("unknown {attributes}")
}

fn env_from(out: &mut Out, c: &Value) {
    if list(c, "envFrom").is_empty() {
        return;
    }
    out.put(2, "Environment Variables from:\n");
    for e in list(c, "envFrom") {
        let (kind, r) = if e["configMapRef"].is_null() {
            ("Secret", &e["secretRef"])
        } else {
            ("ConfigMap", &e["configMapRef"])
        };
        let prefix = if s(e, "prefix").is_empty() {
            String::new()
        } else {
            format!(" with prefix '{}'", s(e, "prefix"))
        };
        out.put(
            3,
            format!(
                "{}\t{kind}{prefix}\tOptional: {}\n",
                s(r, "name"),
                r["optional"] == true
            ),
        );
    }
}

fn env(out: &mut Out, c: &Value, pod: Option<&Value>) {
    let all = list(c, "env");
    out.put(
        2,
        format!(
            "Environment:{}\n",
            if all.is_empty() { "\t<none>" } else { "" }
        ),
    );
    for e in all {
        let name = s(e, "name");
        let from = &e["valueFrom"];
        if from.is_null() {
            for (i, line) in s(e, "value").split('\n').enumerate() {
                out.put(
                    3,
                    if i == 0 {
                        format!("{name}:\t{line}\n")
                    } else {
                        format!("\t{line}\n")
                    },
                );
            }
            continue;
        }
        let f = &from["fieldRef"];
        if !f.is_null() {
            let value = pod.map_or_else(String::new, |p| field_value(p, s(f, "fieldPath")));
            out.put(
                3,
                format!(
                    "{name}:\t{value} ({}:{})\n",
                    f["apiVersion"].as_str().unwrap_or("v1"),
                    s(f, "fieldPath")
                ),
            );
        } else if !from["resourceFieldRef"].is_null() {
            let r = s(&from["resourceFieldRef"], "resource");
            let (kind, which) = r.split_once('.').unwrap_or((r, ""));
            let value = c["resources"][kind][which]
                .as_str()
                .map_or_else(|| "0".to_string(), String::from);
            let value = if value == "0" && (r == "limits.cpu" || r == "limits.memory") {
                "node allocatable".into()
            } else {
                value
            };
            out.put(3, format!("{name}:\t{value} ({r})\n"));
        } else {
            let (kind, r) = if from["secretKeyRef"].is_null() {
                ("of config map", &from["configMapKeyRef"])
            } else {
                ("in secret", &from["secretKeyRef"])
            };
            out.put(
                3,
                format!(
                    "{name}:\t<set to the key '{}' {kind} '{}'>\tOptional: {}\n",
                    s(r, "key"),
                    s(r, "name"),
                    r["optional"] == true
                ),
            );
        }
    }
}

/// A field of the pod's metadata; what the pod's status or spec says is only known inside it.
fn field_value(pod: &Value, path: &str) -> String {
    if !path.starts_with("metadata.") {
        return String::new();
    }
    let (head, key) = path.split_once('[').map_or((path, None), |(h, k)| {
        (h, Some(k.trim_matches(['\'', ']'])))
    });
    let mut at = pod;
    for step in head.split('.') {
        at = &at[step];
    }
    scalar(key.map_or(at, |k| &at[k]))
}

fn mounts(out: &mut Out, c: &Value) {
    let mut all: Vec<&Value> = list(c, "volumeMounts").iter().collect();
    let none = if all.is_empty() { "\t<none>" } else { "" };
    out.put(2, format!("Mounts:{none}\n"));
    all.sort_by_key(|m| s(m, "mountPath").to_string());
    for m in all {
        let mut flags = if m["readOnly"] == true {
            "ro".to_string()
        } else {
            "rw".into()
        };
        if !s(m, "subPath").is_empty() {
            flags += &format!(",path={}", quote(s(m, "subPath")));
        }
        out.put(
            3,
            format!("{} from {} ({flags})\n", s(m, "mountPath"), s(m, "name")),
        );
    }
    if !list(c, "volumeDevices").is_empty() {
        out.put(2, format!("Devices:{none}\n"));
        list(c, "volumeDevices")
            .iter()
            .for_each(|d| out.put(3, format!("{} from {}\n", s(d, "devicePath"), s(d, "name"))));
    }
}

/// What a pod tolerates.
pub fn tolerations(out: &mut Out, title: &str, all: &[Value]) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|t| s(t, "key").to_string());
    let lines: Vec<String> = sorted
        .iter()
        .map(|t| {
            let mut line = s(t, "key").to_string();
            if !s(t, "value").is_empty() {
                line += &format!("={}", s(t, "value"));
            }
            if !s(t, "effect").is_empty() {
                line += &format!(":{}", s(t, "effect"));
            }
            let exists = s(t, "operator") == "Exists";
            if exists && s(t, "value").is_empty() {
                line += if s(t, "key").is_empty() && s(t, "effect").is_empty() {
                    "op=Exists"
                } else {
                    " op=Exists"
                };
            }
            if let Some(seconds) = t["tolerationSeconds"].as_i64() {
                line += &format!(" for {seconds}s");
            }
            line
        })
        .collect();
    multiline(out, title, &lines);
}

/// How pods are spread.
pub fn spread(out: &mut Out, all: &[Value], space: &str) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|c| s(c, "topologyKey").to_string());
    for (i, c) in sorted.iter().enumerate() {
        let head = if i == 0 {
            format!("{space}Topology Spread Constraints:\t")
        } else {
            format!("{space}\t")
        };
        let for_selector = if c["labelSelector"].is_null() {
            String::new()
        } else {
            format!(" for selector {}", selector(&c["labelSelector"]))
        };
        out.put(
            0,
            format!(
                "{head}{}:{} when max skew {} is exceeded{for_selector}\n",
                s(c, "topologyKey"),
                s(c, "whenUnsatisfiable"),
                n(c, "maxSkew")
            ),
        );
    }
}
