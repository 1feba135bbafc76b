//! Containers, probes, environment and mounts, of pods and of pod templates.
//! Invariant: without a status nothing is said of what runs.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use super::form::Line::{self, Amounts, Do, Each, Field, If, In, Labels, Opt, Text, When};
use super::form::{put, shown};
use super::text::{annotations, multiline, selector};
use super::volumes;
use crate::error::quote;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::quantity::{Format, Quantity};

/// A group of containers: its title, and where its containers and their statuses are.
type Group = (&'static str, &'static str, &'static str);
pub const INIT: Group = (
    "Init Containers",
    "spec.initContainers",
    "initContainerStatuses",
);
pub const GROUP: Group = ("Containers", "spec.containers", "containerStatuses");
pub const EPHEMERAL: Group = (
    "Ephemeral Containers",
    "spec.ephemeralContainers",
    "ephemeralContainerStatuses",
);

/// A pod template.
pub fn template(out: &mut Out, template: &Value) {
    out.put(0, "Pod Template:\n");
    if template.is_null() {
        return out.put(1, "<unset>");
    }
    put(out, template, TEMPLATE);
}

const TEMPLATE: &[Line] = &[
    Labels("  Labels", "metadata.labels"),
    Do(|out, template| {
        let map = template.at("metadata").at("annotations");
        if map.as_object().is_some_and(|map| !map.is_empty()) {
            annotations(out, "  Annotations", map);
        }
    }),
    In(
        "spec",
        &[
            Opt("  Service Account", "serviceAccountName"),
            If(
                "initContainers",
                &[Do(|out, spec| {
                    containers(out, INIT.0, spec.at("initContainers"), &[], None, "  ");
                })],
            ),
            Do(|out, spec| {
                containers(out, GROUP.0, spec.at("containers"), &[], None, "  ");
                volumes::all(out, spec.list("volumes"), "  ");
                spread(out, spec.list("topologySpreadConstraints"), "  ");
            }),
            Opt("  Priority Class Name", "priorityClassName"),
            Labels("  Node-Selectors", "nodeSelector"),
            Do(|out, spec| tolerations(out, "  Tolerations", spec.list("tolerations"))),
            In(
                "schedulingGroup",
                &[Text("  SchedulingGroup:\n  PodGroupName:\t{podGroupName}")],
            ),
        ],
    ),
];

/// A list of containers; `pod` is given where fields of it are known.
pub fn containers(
    out: &mut Out,
    title: &str,
    all: &Value,
    statuses: &[Value],
    pod: Option<&Value>,
    space: &str,
) {
    let all = all.as_array().map_or(&[][..], Vec::as_slice);
    let none = if all.is_empty() { " <none>" } else { "" };
    out.put(0, format!("{space}{title}:{none}\n"));
    let indent = if space.is_empty() { "" } else { " " };
    for container in all {
        let name = container.text("name");
        let status = statuses.iter().find(|status| status.text("name") == name);
        out.put(1, format!("{indent}{name}:\n"));
        basics(out, container, status);
        put(out, container, COMMAND);
        if let Some(status) = status {
            put(out, status, STATUS);
        }
        put(out, container, ASKS);
        if !container.list("envFrom").is_empty() {
            out.put(2, "Environment Variables from:\n");
            container
                .list("envFrom")
                .iter()
                .for_each(|from| env_from(out, from));
        }
        let none = if container.list("env").is_empty() {
            "\t<none>"
        } else {
            ""
        };
        out.put(2, format!("Environment:{none}\n"));
        container
            .list("env")
            .iter()
            .for_each(|var| env(out, var, container, pod));
        mounts(out, container);
    }
}

const COMMAND: &[Line] = &[
    If("command", &[Text("    Command:")]),
    Each("command", &[Do(words)]),
    If("args", &[Text("    Args:")]),
    Each("args", &[Do(words)]),
];

const STATUS: &[Line] = &[
    Do(|out, status| state(out, "State", status.at("state"))),
    If(
        "lastState.terminated",
        &[Do(|out, status| {
            state(out, "Last State", status.at("lastState"));
        })],
    ),
    Field("    Ready", "ready|Flag"),
    Field("    Restart Count", "restartCount?0"),
];

const ASKS: &[Line] = &[
    Amounts("    Limits", "resources.limits"),
    Amounts("    Requests", "resources.requests"),
    In(
        "livenessProbe",
        &[Do(|out, p| out.field("    Liveness", probe(p)))],
    ),
    In(
        "readinessProbe",
        &[Do(|out, p| out.field("    Readiness", probe(p)))],
    ),
    In(
        "startupProbe",
        &[Do(|out, p| out.field("    Startup", probe(p)))],
    ),
];

fn words(out: &mut Out, word: &Value) {
    let text = word.as_str().unwrap_or("");
    text.split('\n')
        .for_each(|line| out.put(3, format!("{line}\n")));
}

fn basics(out: &mut Out, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        out.field("    Container ID", status.text("containerID"));
    }
    out.field("    Image", container.text("image"));
    if let Some(status) = status {
        out.field("    Image ID", status.text("imageID"));
    }
    for (label, field) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let ports = container.list("ports").iter().map(|port| {
            let name = match port.text("name") {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            let protocol = port.text_ptr("protocol").unwrap_or("TCP");
            format!("{}/{protocol}{name}", port.int(field))
        });
        match ports.collect::<Vec<_>>().as_slice() {
            [] => out.put(2, format!("{label}:\t<none>\n")),
            [one] => out.put(2, format!("{label}:\t{one}\n")),
            many => out.put(2, format!("{label}s:\t{}\n", many.join(", "))),
        }
    }
    let profile = [In(
        "securityContext.seccompProfile",
        &[
            Field("    SeccompProfile", "type"),
            When(
                "type",
                "Localhost",
                &[Opt("      LocalhostProfile", "localhostProfile")],
            ),
        ],
    )];
    put(out, container, &profile);
}

/// What each state of a container tells.
const STATES: &[(&str, &str, &[Line])] = &[
    (
        "running",
        "Running",
        &[Field("      Started", "startedAt|date")],
    ),
    ("waiting", "Waiting", &[Opt("      Reason", "reason")]),
    (
        "terminated",
        "Terminated",
        &[
            Opt("      Reason", "reason"),
            Opt("      Message", "message"),
            Field("      Exit Code", "exitCode?0"),
            Opt("      Signal", "signal"),
            Field("      Started", "startedAt|date"),
            Field("      Finished", "finishedAt|date"),
        ],
    ),
];

fn state(out: &mut Out, label: &str, state: &Value) {
    let found = STATES
        .iter()
        .find(|(field, ..)| state.some(field).is_some());
    let (field, word, lines) = found.unwrap_or(&STATES[1]);
    out.put(2, format!("{label}:\t{word}\n"));
    put(out, state.at(field), lines);
}

fn probe(p: &Value) -> String {
    let what = if let Some(exec) = p.some("exec") {
        format!("exec [{}]", shown(exec, "command|spaced"))
    } else if let Some(get) = p.some("httpGet") {
        let (host, path) = (get.text("host"), get.text("path"));
        let slash = if path.is_empty() || path.starts_with('/') {
            ""
        } else {
            "/"
        };
        let scheme = get.text_ptr("scheme").unwrap_or("HTTP").to_lowercase();
        format!(
            "http-get {scheme}://{host}:{}{slash}{path}",
            shown(get, "port")
        )
    } else if let Some(tcp) = p.some("tcpSocket") {
        format!("tcp-socket {}:{}", tcp.text("host"), shown(tcp, "port"))
    } else if let Some(grpc) = p.some("grpc") {
        format!("grpc <pod>:{} {}", grpc.int("port"), grpc.text("service"))
    } else {
        "unknown".into()
    };
    let (delay, timeout, period, success, failure) = (
        p.int("initialDelaySeconds"),
        p.int_ptr("timeoutSeconds").unwrap_or(1),
        p.int_ptr("periodSeconds").unwrap_or(10),
        p.int_ptr("successThreshold").unwrap_or(1),
        p.int_ptr("failureThreshold").unwrap_or(3),
    );
    format!(
        "{what} delay={delay}s timeout={timeout}s period={period}s #success={success} #failure={failure}"
    )
}

fn env_from(out: &mut Out, from: &Value) {
    let (kind, reference) = match from.some("configMapRef") {
        Some(map) => ("ConfigMap", map),
        None => ("Secret", from.at("secretRef")),
    };
    let prefix = match from.text("prefix") {
        "" => String::new(),
        prefix => format!(" with prefix '{prefix}'"),
    };
    let (name, optional) = (reference.text("name"), reference.flag("optional"));
    out.put(3, format!("{name}\t{kind}{prefix}\tOptional: {optional}\n"));
}

fn env(out: &mut Out, var: &Value, container: &Value, pod: Option<&Value>) {
    let name = var.text("name");
    let Some(from) = var.some("valueFrom") else {
        let mut lines = var.text("value").split('\n');
        out.put(3, format!("{name}:\t{}\n", lines.next().unwrap_or("")));
        return lines.for_each(|line| out.put(3, format!("\t{line}\n")));
    };
    let line = if let Some(field) = from.some("fieldRef") {
        let path = field.text("fieldPath");
        // clients know no other fields of pods that they do not have themselves
        let value = match (pod, path) {
            (Some(pod), "metadata.name" | "metadata.namespace") => shown(pod, path),
            _ => String::new(),
        };
        let version = field.text_ptr("apiVersion").unwrap_or("v1");
        format!("{value} ({version}:{path})")
    } else if let Some(field) = from.some("resourceFieldRef") {
        let resource = field.text("resource");
        let value = match amount(container, field).as_deref() {
            Some("0") if matches!(resource, "limits.cpu" | "limits.memory") => {
                "node allocatable".into()
            }
            value => value.unwrap_or("").to_string(),
        };
        format!("{value} ({resource})")
    } else {
        let (of, key) = match from.some("secretKeyRef") {
            Some(key) => ("in secret", key),
            None => ("of config map", from.at("configMapKeyRef")),
        };
        let (name, optional) = (key.text("name"), key.flag("optional"));
        let key = key.text("key");
        format!("<set to the key '{key}' {of} '{name}'>\tOptional: {optional}")
    };
    out.put(3, format!("{name}:\t{line}\n"));
}

/// What a container asks for in units of the divisor, rounded up; nothing where that cannot be told.
fn amount(container: &Value, field: &Value) -> Option<String> {
    let (list, name) = field.text("resource").split_once('.')?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if !known && !name.starts_with("hugepages-") {
        return None;
    }
    let read = |value: &Value| shown(value, "?0").parse::<Quantity>().ok();
    let figure = |q: &Quantity| {
        if name == "cpu" {
            q.milli_value()
        } else {
            q.value()
        }
    };
    let amount = read(container.at("resources").at(list).at(name))?;
    let divisor = match read(field.at("divisor"))? {
        zero if zero.is_zero() => Quantity::from_i64(1, Format::default()),
        divisor => divisor,
    };
    let units = figure(&amount) as f64 / figure(&divisor) as f64;
    Some((units.ceil() as i64).to_string())
}

fn mounts(out: &mut Out, container: &Value) {
    let sorted = |field: &str, by: &'static str| {
        let mut all: Vec<&Value> = container.list(field).iter().collect();
        all.sort_by_key(|item| item.text(by));
        all
    };
    let mounts = sorted("volumeMounts", "mountPath");
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    out.put(2, format!("Mounts:{none}\n"));
    for mount in mounts {
        let (at, name) = (mount.text("mountPath"), mount.text("name"));
        let flag = if mount.flag("readOnly") { "ro" } else { "rw" };
        let path = match mount.text("subPath") {
            "" => String::new(),
            path => format!(",path={}", quote(path)),
        };
        out.put(3, format!("{at} from {name} ({flag}{path})\n"));
    }
    let devices = sorted("volumeDevices", "devicePath");
    if !devices.is_empty() {
        out.put(2, format!("Devices:{none}\n"));
    }
    for device in devices {
        let (at, name) = (device.text("devicePath"), device.text("name"));
        out.put(3, format!("{at} from {name}\n"));
    }
}

/// What a pod tolerates.
pub fn tolerations(out: &mut Out, title: &str, all: &[Value]) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|t| t.text("key"));
    let lines = sorted.iter().map(|t| {
        let (key, value, effect) = (t.text("key"), t.text("value"), t.text("effect"));
        let mut line = key.to_string();
        if !value.is_empty() {
            line += &format!("={value}");
        }
        if !effect.is_empty() {
            line += &format!(":{effect}");
        }
        if t.text("operator") == "Exists" && value.is_empty() {
            let space = if line.is_empty() { "" } else { " " };
            line += &format!("{space}op=Exists");
        }
        if let Some(seconds) = t.int_ptr("tolerationSeconds") {
            line += &format!(" for {seconds}s");
        }
        line
    });
    multiline(out, title, &lines.collect::<Vec<_>>());
}

/// How pods are spread.
pub fn spread(out: &mut Out, all: &[Value], space: &str) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|c| c.text("topologyKey"));
    let lines = sorted.iter().map(|c| {
        let of = match c.some("labelSelector") {
            Some(labels) => format!(" for selector {}", selector(labels)),
            None => String::new(),
        };
        let text = shown(c, "topologyKey") + ":" + c.text("whenUnsatisfiable");
        format!("{text} when max skew {} is exceeded{of}", c.int("maxSkew"))
    });
    for (i, line) in lines.enumerate() {
        let head = if i == 0 {
            "Topology Spread Constraints:"
        } else {
            ""
        };
        out.put(0, format!("{space}{head}\t{line}\n"));
    }
}
