//! The defaults of pods and of pod templates, which are the same but for what the API server adds to pods alone.
//!
//! Follows `pkg/apis/core/v1/defaults.go`.

use serde_json::{Map, Value, json};

use crate::kinds::fill::{absent, each, inner, number, spec, text};

/// `SetDefaults_Pod`.
pub fn pod(object: &mut Value) {
    let spec = spec(object);
    pod_spec(spec);
    absent(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
        }
    }
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        host_ports(spec);
    }
}

/// What a container has a limit of and asks for nothing, it asks for.
fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = inner(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

fn host_ports(spec: &mut Map<String, Value>) {
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            for port in each(container, "ports") {
                if let Some(number) = port.get("containerPort").cloned() {
                    port.insert("hostPort".into(), number);
                }
            }
        }
    }
}

/// The spec of a template.
pub fn template(owner: &mut Map<String, Value>) {
    if let Some(template) = inner(owner, "template") {
        let spec = template.entry("spec").or_insert_with(|| json!({}));
        if let Some(spec) = spec.as_object_mut() {
            pod_spec(spec);
            if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
                host_ports(spec);
            }
        }
    }
}

/// `SetDefaults_PodSpec` and what lies below it.
pub fn pod_spec(spec: &mut Map<String, Value>) {
    text(spec, "dnsPolicy", "ClusterFirst");
    text(spec, "restartPolicy", "Always");
    absent(spec, "securityContext", json!({}));
    absent(spec, "terminationGracePeriodSeconds", 30);
    text(spec, "schedulerName", "default-scheduler");
    // the old name of the field follows the new one, and the other way round
    let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|name| spec.get(*name).and_then(Value::as_str).map(str::to_string));
    if let Some(account) = account.filter(|name| !name.is_empty()) {
        spec.insert("serviceAccountName".into(), account.as_str().into());
        spec.insert("serviceAccount".into(), account.into());
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in each(spec, list) {
            self::container(container);
        }
    }
    for volume in each(spec, "volumes") {
        self::volume(volume);
    }
}

fn container(container: &mut Map<String, Value>) {
    let policy = match container.get("image").and_then(Value::as_str) {
        Some(image) if tag(image) == "latest" => "Always",
        _ => "IfNotPresent",
    };
    text(container, "imagePullPolicy", policy);
    text(container, "terminationMessagePath", "/dev/termination-log");
    text(container, "terminationMessagePolicy", "File");
    for port in each(container, "ports") {
        text(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        if let Some(reference) = inner(variable, "valueFrom").and_then(|from| inner(from, "fieldRef")) {
            text(reference, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inner(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = inner(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) = inner(lifecycle, name).and_then(|handler| inner(handler, "httpGet")) {
                http_get(get);
            }
        }
    }
}

/// The tag of an image: `latest` when there is neither tag nor digest.
fn tag(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.rsplit_once(':'), digest) {
        (Some((_, tag)), _) => tag,
        (None, Some(_)) => "",
        (None, None) => "latest",
    }
}

fn http_get(get: &mut Map<String, Value>) {
    text(get, "path", "/");
    text(get, "scheme", "HTTP");
}

fn probe(probe: &mut Map<String, Value>) {
    number(probe, "timeoutSeconds", 1);
    number(probe, "periodSeconds", 10);
    number(probe, "successThreshold", 1);
    number(probe, "failureThreshold", 3);
    if let Some(get) = inner(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = inner(probe, "grpc") {
        absent(grpc, "service", "");
    }
}

/// The kinds of volumes with a `defaultMode`.
const WITH_MODE: [&str; 4] = ["configMap", "secret", "downwardAPI", "projected"];

fn volume(volume: &mut Map<String, Value>) {
    for kind in WITH_MODE {
        if let Some(source) = inner(volume, kind) {
            absent(source, "defaultMode", 0o644);
            field_refs(source);
            for projection in each(source, "sources") {
                if let Some(token) = inner(projection, "serviceAccountToken") {
                    absent(token, "expirationSeconds", 3600);
                }
                if let Some(downward) = inner(projection, "downwardAPI") {
                    field_refs(downward);
                }
            }
        }
    }
    if let Some(path) = inner(volume, "hostPath") {
        absent(path, "type", "");
    }
    if let Some(iscsi) = inner(volume, "iscsi") {
        text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = inner(volume, "rbd") {
        text(rbd, "pool", "rbd");
        text(rbd, "user", "admin");
        text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = inner(volume, "azureDisk") {
        absent(disk, "cachingMode", "ReadWrite");
        absent(disk, "kind", "Shared");
        absent(disk, "fsType", "ext4");
        absent(disk, "readOnly", false);
    }
    if let Some(scale) = inner(volume, "scaleIO") {
        text(scale, "storageMode", "ThinProvisioned");
        text(scale, "fsType", "xfs");
    }
    if let Some(template) = inner(volume, "ephemeral").and_then(|e| inner(e, "volumeClaimTemplate")).and_then(|t| inner(t, "spec")) {
        absent(template, "volumeMode", "Filesystem");
    }
    const SOURCES: usize = 2;
    // a volume that names no source is an emptyDir
    if volume.len() < SOURCES {
        volume.insert("emptyDir".into(), json!({}));
    }
    if let Some(image) = inner(volume, "image") {
        let policy = if image.get("reference").and_then(Value::as_str).is_some_and(|image| tag(image) == "latest") { "Always" } else { "IfNotPresent" };
        text(image, "pullPolicy", policy);
    }
}

fn field_refs(source: &mut Map<String, Value>) {
    for item in each(source, "items") {
        if let Some(reference) = inner(item, "fieldRef") {
            text(reference, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pod() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "image": "nginx", "resources": {"limits": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}]}});
        pod(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(spec["containers"][0]["readinessProbe"]["httpGet"]["scheme"], "HTTP");
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn tags() {
        for (image, wanted) in [("a", "latest"), ("a:1", "1"), ("h:5000/a", "latest"), ("h:5000/a:2", "2"), ("a@sha256:0", "")] {
            assert_eq!(tag(image), wanted, "{image}");
        }
    }
}
