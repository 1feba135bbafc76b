//! What is the matter with what leads to pods and with what they store on: services, Ingresses, claims.
//! Invariant: that something is missing is said only where that is known.
//! Behaviour follows nothing upstream: kubectl does not do this.

use serde_json::Value;
use skiff_api::machinery::storage::{class_of, is_default};

use super::facts::{Facts, Look, backends};
use super::finding::{Finding, because, name};
use crate::typed::Read;

/// A service leads nowhere without pods, and where its pods have no such port.
pub fn of_service(service: &Value, pods: &[Value]) -> Vec<Finding> {
    let Some(selector) = service.at("spec").at("selector").as_object() else {
        return Vec::new();
    };
    let labels = selector.iter().map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{key}={value}")
    });
    let labels = labels.collect::<Vec<_>>().join(",");
    let namespace = service.at("metadata").text("namespace");
    if pods.is_empty() {
        let what = format!("{}: no pod has its labels: {labels}", name(service));
        let next = format!("skiff get pods --show-labels -n {namespace}");
        return vec![Finding::new(what, next, false)];
    }
    let ports = service.at("spec").list("ports").iter();
    let nowhere = ports.filter_map(|port| {
        let target = port.at("targetPort").as_str()?;
        let leads = pods
            .iter()
            .any(|pod| has_port(pod, target, port.text("protocol")));
        (!leads).then(|| {
            let what = format!(
                "{}: port {} leads nowhere: none of its pods has a port with the name {target}",
                name(service),
                port.int("port")
            );
            let next = format!("skiff describe pods -l {labels} -n {namespace}");
            Finding::new(what, next, false)
        })
    });
    nowhere.collect()
}

fn has_port(pod: &Value, named: &str, protocol: &str) -> bool {
    let or_tcp = |protocol: &str| match protocol {
        "" => "TCP".to_string(),
        other => other.to_string(),
    };
    let spec = pod.at("spec");
    let containers = spec
        .list("containers")
        .iter()
        .chain(spec.list("initContainers"));
    let mut ports = containers.flat_map(|container| container.list("ports"));
    ports
        .any(|port| port.text("name") == named && or_tcp(port.text("protocol")) == or_tcp(protocol))
}

/// An Ingress leads nowhere without its services.
pub fn of_ingress(ingress: &Value, facts: &Facts) -> Vec<Finding> {
    let (shown, namespace) = (name(ingress), ingress.at("metadata").text("namespace"));
    let mut found: Vec<Finding> = Vec::new();
    for backend in backends(ingress) {
        let service = backend.text("name");
        let finding = match facts.services.get(service) {
            None => continue,
            Some(Look::Gone) => {
                let what = format!("{shown}: its service {service} does not exist");
                Finding::new(what, format!("skiff get services -n {namespace}"), false)
            }
            Some(Look::Is(of)) => {
                let wanted = backend.at("port");
                let (named, number) = (wanted.text("name"), wanted.int("number"));
                let mut ports = of.at("spec").list("ports").iter();
                if ports.any(|port| match named {
                    "" => port.int("port") == number,
                    named => port.text("name") == named,
                }) {
                    continue;
                }
                let port = match named {
                    "" => number.to_string(),
                    named => named.into(),
                };
                let what = format!("{shown}: its service {service} has no port {port}");
                Finding::new(
                    what,
                    format!("skiff describe service/{service} -n {namespace}"),
                    false,
                )
            }
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

/// A claim without a volume, and why it has none.
pub fn of_claim(claim: &Value, facts: &Facts) -> Vec<Finding> {
    let (shown, phase) = (name(claim), claim.at("status").text("phase"));
    let describe = format!("skiff describe {shown}");
    if phase == "Lost" {
        let volume = claim.at("spec").text("volumeName");
        let what = format!("{shown} has lost its volume {volume}");
        return vec![Finding::new(what, describe, true)];
    }
    if phase != "Pending" {
        return Vec::new();
    }
    let (why, next) = match of_class(claim, facts) {
        Some(why) => (why, "skiff get storageclasses".into()),
        None => (waits_for(claim, facts), describe),
    };
    let what = match why.as_str() {
        "" => format!("{shown} has no volume yet"),
        why => format!("{shown} has no volume yet: {why}"),
    };
    vec![Finding::new(what, next, false)]
}

/// What is wrong with a claim's class; of one that is missing in the binder's words.
fn of_class(claim: &Value, facts: &Facts) -> Option<String> {
    let classes = facts.classes.as_ref()?;
    match class_of(claim) {
        None if !classes.iter().any(is_default) => {
            Some("it names no StorageClass, and none is the default".into())
        }
        None | Some("") => None,
        Some(class)
            if classes
                .iter()
                .any(|of| of.at("metadata").text("name") == class) =>
        {
            None
        }
        Some(class) => Some(format!("storageclass.storage.k8s.io \"{class}\" not found")),
    }
}

/// What was told of a claim last, else what its class waits for.
fn waits_for(claim: &Value, facts: &Facts) -> String {
    let meta = claim.at("metadata");
    let about = |event: &&Value| event.at("involvedObject").text("uid") == meta.text("uid");
    let last = facts.last("PersistentVolumeClaim", meta.text("name"), |_| true);
    if let Some(event) = last.filter(about) {
        return because(event);
    }
    let classes = facts.classes.iter().flatten();
    let mut of = classes.filter(|of| Some(of.at("metadata").text("name")) == class_of(claim));
    let waits = of.any(|of| of.text("volumeBindingMode") == "WaitForFirstConsumer");
    match waits {
        true => "it waits for a pod that uses it".into(),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(found: Vec<Finding>) -> Vec<(String, String)> {
        found.into_iter().map(|f| (f.what, f.next)).collect()
    }

    #[test]
    fn services() {
        let service = |target: Value| {
            json!({"kind": "Service", "metadata": {"name": "s", "namespace": "n"},
            "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": target, "protocol": "TCP"}]}})
        };
        let pod = |protocol: Value| json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080, "protocol": protocol}]}]}});
        let leads = |target: Value, pod: Value| of_service(&service(target), &[pod]).is_empty();
        assert!(leads(json!("web"), pod(json!("TCP"))));
        assert!(leads(json!("web"), pod(Value::Null)));
        assert!(leads(json!(1), pod(json!("TCP"))));
        assert!(!leads(json!("web"), pod(json!("UDP"))));
        let found = said(of_service(&service(json!("www")), &[pod(json!("TCP"))]));
        let what =
            "service/s: port 80 leads nowhere: none of its pods has a port with the name www";
        assert_eq!(
            found,
            [(what.into(), "skiff describe pods -l app=a -n n".into())]
        );
        // one without a selector has no pods of its own
        assert_eq!(of_service(&json!({"kind": "Service", "spec": {}}), &[]), []);
    }

    #[test]
    fn ingresses() {
        let to = |port: Value| json!({"backend": {"service": {"name": "s", "port": port}}});
        let paths = [
            to(json!({"number": 80})),
            to(json!({"number": 81})),
            to(json!({"name": "web"})),
            to(json!({"name": "www"})),
        ];
        let ingress = json!({"kind": "Ingress", "metadata": {"name": "i", "namespace": "n"},
            "spec": {"defaultBackend": {"service": {"name": "t", "port": {"number": 1}}}, "rules": [{"http": {"paths": paths}}]}});
        let mut facts = Facts::default();
        assert_eq!(of_ingress(&ingress, &facts), [], "nothing is known");
        facts.services.insert(
            "s".into(),
            Look::Is(json!({"spec": {"ports": [{"port": 80, "name": "web"}]}})),
        );
        facts.services.insert("t".into(), Look::Gone);
        let found = said(of_ingress(&ingress, &facts));
        let wanted = [
            (
                "ingress/i: its service t does not exist",
                "skiff get services -n n",
            ),
            (
                "ingress/i: its service s has no port 81",
                "skiff describe service/s -n n",
            ),
            (
                "ingress/i: its service s has no port www",
                "skiff describe service/s -n n",
            ),
        ];
        assert_eq!(
            found,
            wanted.map(|(what, next)| (what.to_string(), next.to_string()))
        );
    }

    #[test]
    fn claims() {
        let claim = |class: Value| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "uid": "u"}, "spec": {"storageClassName": class}, "status": {"phase": "Pending"}});
        let class = |name: &str, default: &str, mode: &str| json!({"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}, "volumeBindingMode": mode});
        let late = || {
            vec![
                class("late", "true", "WaitForFirstConsumer"),
                class("now", "false", "Immediate"),
            ]
        };
        let event = |uid: &str| json!({"involvedObject": {"kind": "PersistentVolumeClaim", "name": "c", "uid": uid}, "reason": "R", "message": "m"});
        let (describe, classes) = (
            "skiff describe persistentvolumeclaim/c",
            "skiff get storageclasses",
        );
        for (named, known, event, why, next) in [
            (Value::Null, None, None, "", describe),
            (
                Value::Null,
                Some(vec![class("now", "false", "Immediate")]),
                None,
                ": it names no StorageClass, and none is the default",
                classes,
            ),
            (Value::Null, Some(late()), None, "", describe),
            (
                json!(""),
                Some(vec![]),
                Some(event("u")),
                ": R: m",
                describe,
            ),
            (
                json!("x"),
                Some(late()),
                Some(event("u")),
                ": storageclass.storage.k8s.io \"x\" not found",
                classes,
            ),
            (
                json!("late"),
                Some(late()),
                None,
                ": it waits for a pod that uses it",
                describe,
            ),
            (
                json!("late"),
                Some(late()),
                Some(event("u")),
                ": R: m",
                describe,
            ),
            (json!("now"), Some(late()), Some(event("w")), "", describe),
        ] {
            let facts = Facts {
                classes: known,
                events: event.into_iter().collect(),
                ..Facts::default()
            };
            let found = said(of_claim(&claim(named), &facts));
            let what = format!("persistentvolumeclaim/c has no volume yet{why}");
            assert_eq!(found, [(what, next.into())]);
        }
    }
}
