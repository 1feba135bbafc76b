//! The defaults of pods and of pod templates, which are the same but for what the API server adds to pods alone.
//!
//! Follows `pkg/apis/core/v1/defaults.go`.

use super::image::tag;
use super::pod_level;
use crate::kinds::fill::{absent, each, inner, number, spec, text};
use crate::kinds::prelude::*;
use crate::machinery::quantity::Quantity;

/// `SetDefaults_Pod`, and what conversion to the hub type makes of old pods.
pub fn pod(object: &mut Value) {
    same_addresses(object);
    drop_old_annotations(object.get_mut("metadata").and_then(Value::as_object_mut));
    let spec = spec(object);
    if spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|grace| grace < 0)
    {
        spec.insert("terminationGracePeriodSeconds".into(), 1.into());
    }
    pod_spec(spec);
    absent(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
        }
    }
    if spec.contains_key("resources") {
        pod_level::resources(spec);
    }
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        host_ports(spec);
    }
}

/// Annotations that held containers before there was a field for them.
fn drop_old_annotations(metadata: Option<&mut Map<String, Value>>) {
    const OLD: [&str; 4] = [
        "pod.beta.kubernetes.io/init-containers",
        "pod.alpha.kubernetes.io/init-containers",
        "pod.beta.kubernetes.io/init-container-statuses",
        "pod.alpha.kubernetes.io/init-container-statuses",
    ];
    let Some(annotations) = metadata.and_then(|metadata| inner(metadata, "annotations")) else {
        return;
    };
    for name in OLD {
        annotations.remove(name);
    }
}

/// What a container has a limit of and asks for nothing, it asks for.
fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = inner(container, "resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
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
                if let Some(own) = port.get("containerPort").and_then(Value::as_i64) {
                    number(port, "hostPort", own);
                }
            }
        }
    }
}

/// The spec of a template.
pub fn template(owner: &mut Map<String, Value>) {
    if let Some(template) = inner(owner, "template") {
        drop_old_annotations(inner(template, "metadata"));
        let spec = template.entry("spec").or_insert_with(|| json!({}));
        if let Some(spec) = spec.as_object_mut() {
            pod_spec(spec);
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
    let account = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|name| spec.get(*name).and_then(Value::as_str).map(str::to_string));
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
    amounts(spec, "overhead");
    if let Some(resources) = inner(spec, "resources") {
        amounts(resources, "limits");
        amounts(resources, "requests");
    }
}

/// `SetDefaults_ResourceList`: amounts finer than a thousandth are rounded up.
pub fn amounts(owner: &mut Map<String, Value>, list: &str) {
    for amount in owner
        .get_mut(list)
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|list| list.values_mut())
    {
        let fine = amount
            .as_str()
            .is_some_and(|text| text.ends_with(['n', 'u']) || text.contains("e-"));
        if fine && let Ok(quantity) = Quantity::from_json(amount) {
            *amount = Quantity::from_milli(quantity.milli_value(), quantity.format())
                .to_string()
                .into();
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let policy = match container.get("image").and_then(Value::as_str) {
        Some(name) if tag(name) == "latest" => "Always",
        _ => "IfNotPresent",
    };
    text(container, "imagePullPolicy", policy);
    text(container, "terminationMessagePath", "/dev/termination-log");
    text(container, "terminationMessagePolicy", "File");
    for port in each(container, "ports") {
        text(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        let Some(from) = inner(variable, "valueFrom") else {
            continue;
        };
        if let Some(reference) = inner(from, "fieldRef") {
            text(reference, "apiVersion", "v1");
        }
        if let Some(reference) = inner(from, "fileKeyRef") {
            absent(reference, "optional", false);
        }
    }
    if let Some(resources) = inner(container, "resources") {
        amounts(resources, "limits");
        amounts(resources, "requests");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inner(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = inner(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) = inner(lifecycle, name).and_then(|handler| inner(handler, "httpGet"))
            {
                http_get(get);
            }
        }
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
    sources(volume);
    if let Some(template) = inner(volume, "ephemeral")
        .and_then(|e| inner(e, "volumeClaimTemplate"))
        .and_then(|t| inner(t, "spec"))
    {
        claim_spec(template);
    }
    const SOURCES: usize = 2;
    // a volume that names no source is an emptyDir
    if volume.len() < SOURCES {
        volume.insert("emptyDir".into(), json!({}));
    }
    if let Some(image) = inner(volume, "image") {
        let policy =
            if tag(image.get("reference").and_then(Value::as_str).unwrap_or("")) == "latest" {
                "Always"
            } else {
                "IfNotPresent"
            };
        text(image, "pullPolicy", policy);
    }
}

/// Of the sources that persistent volumes have, too.
pub fn sources(volume: &mut Map<String, Value>) {
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
}

/// `SetDefaults_PersistentVolumeClaimSpec`.
pub fn claim_spec(spec: &mut Map<String, Value>) {
    absent(spec, "volumeMode", "Filesystem");
    if let Some(resources) = inner(spec, "resources") {
        amounts(resources, "limits");
        amounts(resources, "requests");
    }
}

fn field_refs(source: &mut Map<String, Value>) {
    for item in each(source, "items") {
        if let Some(reference) = inner(item, "fieldRef") {
            text(reference, "apiVersion", "v1");
        }
    }
}

/// `podIP` is the first of `podIPs`; what older clients write decides. Follows `pkg/apis/core/v1/conversion.go`.
fn same_addresses(pod: &mut Value) {
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let one = status.get("podIP").and_then(Value::as_str);
    let one = one.unwrap_or("").to_string();
    let first = status
        .get("podIPs")
        .and_then(|list| list.get(0))
        .map(|first| first.text("ip").to_string());
    let same = (first.as_deref()).is_some_and(|first| one.is_empty() || one == first);
    match first {
        Some(first) if same && !first.is_empty() => {
            status.insert("podIP".into(), first.into());
        }
        // other than the first, or the only one
        _ if !same && !one.is_empty() => {
            status.insert("podIPs".into(), json!([{"ip": one}]));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pods_say_the_same() {
        let ip = |ip: &str| json!({"ip": ip});
        for (given, wanted) in [
            (json!({}), json!({})),
            (
                json!({"podIP": "1.1.1.1"}),
                json!({"podIP": "1.1.1.1", "podIPs": [ip("1.1.1.1")]}),
            ),
            (
                json!({"podIPs": [ip("1.1.1.1"), ip("::1")]}),
                json!({"podIP": "1.1.1.1", "podIPs": [ip("1.1.1.1"), ip("::1")]}),
            ),
            (
                json!({"podIP": "1.1.1.1", "podIPs": [ip("1.1.1.1"), ip("::1")]}),
                json!({"podIP": "1.1.1.1", "podIPs": [ip("1.1.1.1"), ip("::1")]}),
            ),
            (
                json!({"podIP": "2.2.2.2", "podIPs": [ip("1.1.1.1"), ip("::1")]}),
                json!({"podIP": "2.2.2.2", "podIPs": [ip("2.2.2.2")]}),
            ),
            (json!({"podIPs": [{}]}), json!({"podIPs": [{}]})),
        ] {
            let mut pod = json!({"status": given});
            same_addresses(&mut pod);
            assert_eq!(pod["status"], wanted, "{given}");
        }
    }

    #[test]
    fn a_plain_pod() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "image": "nginx", "resources": {"limits": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}]}});
        pod(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(
            spec["containers"][0]["readinessProbe"]["httpGet"]["scheme"],
            "HTTP"
        );
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }
}
