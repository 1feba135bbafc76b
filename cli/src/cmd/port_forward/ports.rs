//! The ports of `port-forward`: what the user writes, and which port of the pod that means.
//! Invariant: a name, or a service's port, that leads to no port of the pod is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/portforward/portforward.go` and `client-go/tools/portforward`.

use crate::error::{Error, Result, bail, message, quote};
use crate::resource::Info;
use crate::typed::Read;
use serde_json::Value;

/// Local and remote part of a word; a word without a colon is both.
fn split(word: &str) -> (&str, &str) {
    match word.split(':').collect::<Vec<_>>().as_slice() {
        [local, remote] => (local, remote),
        parts => (parts[0], parts[0]),
    }
}

/// The words with numbers alone: names of ports, and a service's ports, become the pod's.
///
/// # Errors
/// Names and ports of services that lead nowhere.
pub fn numbers(info: &Info, pod: &Value, words: &[String]) -> Result<Vec<String>> {
    let service = (info.resource.kind == "Service").then_some(&info.object);
    check_udp(service, pod, words)?;
    let number = |word: &String| {
        let (local, remote) = split(word);
        service.map_or_else(
            || of_pod(pod, local, remote),
            |service| of_service(service, pod, local, remote),
        )
    };
    words.iter().map(number).collect()
}

fn joined(local: &str, remote: &str, target: i64) -> String {
    if local == remote {
        target.to_string()
    } else {
        format!("{local}:{target}")
    }
}

fn of_pod(pod: &Value, local: &str, remote: &str) -> Result<String> {
    match remote.parse::<i64>() {
        Ok(_) if local == remote => Ok(remote.into()),
        Ok(_) => Ok(format!("{local}:{remote}")),
        Err(_) => Ok(joined(local, remote, container_port(pod, remote)?)),
    }
}

fn of_service(service: &Value, pod: &Value, local: &str, remote: &str) -> Result<String> {
    let number = match remote.parse::<i64>() {
        Ok(number) => number,
        Err(_) => service_port(service, remote)?,
    };
    // A name that stands for both means the service's port here.
    let local = if local == remote {
        number.to_string()
    } else {
        local.to_string()
    };
    let target = target_port(service, pod, number)?.to_string();
    Ok(if local == target {
        target
    } else {
        format!("{local}:{target}")
    })
}

/// Local and remote port of a word of numbers; 0 here is any free port.
///
/// # Errors
/// Numbers that are no ports.
pub fn parse(word: &str) -> Result<(u16, u16)> {
    let parts: Vec<&str> = word.split(':').collect();
    let (local, remote) = match parts.as_slice() {
        [both] => (*both, *both),
        ["", remote] => ("0", *remote),
        [local, remote] => (*local, *remote),
        _ => bail!("invalid port format '{word}'"),
    };
    let number = |text: &str, which: &str| {
        text.parse::<u16>().map_err(|e| {
            let why = if matches!(e.kind(), std::num::IntErrorKind::PosOverflow) {
                "value out of range"
            } else {
                "invalid syntax"
            };
            message!(
                "error parsing {which} port '{text}': strconv.ParseUint: parsing {}: {why}",
                quote(text)
            )
        })
    };
    let pair = (number(local, "local")?, number(remote, "remote")?);
    if pair.1 == 0 {
        Err(Error::msg("remote port must be > 0"))
    } else {
        Ok(pair)
    }
}

fn name(object: &Value) -> &str {
    object.at("metadata").text("name")
}

fn ports_of(pod: &Value) -> impl Iterator<Item = &Value> {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|l| pod.at("spec").list(l).iter());
    containers.flat_map(|c| c.list("ports").iter())
}

fn container_port(pod: &Value, word: &str) -> Result<i64> {
    if word.is_empty() {
        bail!("remote port cannot be empty");
    }
    let found = ports_of(pod)
        .find(|p| p.text_ptr("name") == Some(word))
        .and_then(|p| p.int_ptr("containerPort"));
    found.ok_or_else(|| message!("Pod '{}' does not have a named port '{word}'", name(pod)))
}

fn service_port(service: &Value, word: &str) -> Result<i64> {
    let found = service
        .at("spec")
        .list("ports")
        .iter()
        .find(|p| p.text_ptr("name") == Some(word))
        .and_then(|p| p.int_ptr("port"));
    found.ok_or_else(|| {
        message!(
            "Service '{}' does not have a named port '{word}'",
            name(service)
        )
    })
}

/// The pod's port behind a service's.
fn target_port(service: &Value, pod: &Value, port: i64) -> Result<i64> {
    let found = service
        .at("spec")
        .list("ports")
        .iter()
        .find(|p| p.int_ptr("port") == Some(port));
    let Some(entry) = found else {
        bail!(
            "Service {} does not have a service port {port}",
            name(service)
        );
    };
    if service.at("spec").text("clusterIP") == "None" {
        return Ok(port);
    }
    match entry.at("targetPort") {
        Value::String(word) => container_port(pod, word),
        target => Ok(target.as_i64().filter(|n| *n != 0).unwrap_or(port)),
    }
}

/// Refuses ports that are UDP's alone.
fn check_udp(service: Option<&Value>, pod: &Value, words: &[String]) -> Result<()> {
    let (ports, field): (Vec<&Value>, &str) = match service {
        Some(s) => (s.at("spec").list("ports").iter().collect(), "port"),
        None => (
            pod.at("spec")
                .list("containers")
                .iter()
                .flat_map(|c| c.list("ports").iter())
                .collect(),
            "containerPort",
        ),
    };
    let has = |number: i64, protocol: &str| {
        ports
            .iter()
            .any(|p| p.int_ptr(field) == Some(number) && p.text("protocol") == protocol)
    };
    for word in words {
        let (_, remote) = split(word);
        let number = match remote.parse::<i64>() {
            Ok(number) => number,
            Err(_) => {
                service.map_or_else(|| container_port(pod, remote), |s| service_port(s, remote))?
            }
        };
        if has(number, "UDP") && !has(number, "TCP") {
            bail!("UDP protocol is not supported for {remote}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Resource;
    use serde_json::json;

    #[test]
    fn ports_are_found_by_name_and_number() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9}, {"port": 53, "protocol": "UDP"}]}});
        let info = |kind: &str, object: &Value| Info {
            resource: Resource {
                kind: kind.into(),
                ..Resource::default()
            },
            namespace: String::new(),
            name: String::new(),
            object: object.clone(),
            source: String::new(),
            lines: Default::default(),
        };
        for (kind, object, word, want) in [
            ("Pod", &pod, "http", Ok((8080, 8080))),
            ("Pod", &pod, "80:http", Ok((80, 8080))),
            ("Pod", &pod, ":80", Ok((0, 80))),
            ("Pod", &pod, "80", Ok((80, 80))),
            ("Pod", &pod, "80:", Err("remote port cannot be empty")),
            (
                "Pod",
                &pod,
                "dns",
                Err("UDP protocol is not supported for dns"),
            ),
            ("Pod", &pod, "0", Err("remote port must be > 0")),
            (
                "Pod",
                &pod,
                "x",
                Err("Pod 'p' does not have a named port 'x'"),
            ),
            (
                "Pod",
                &pod,
                "x:80",
                Err(
                    "error parsing local port 'x': strconv.ParseUint: parsing \"x\": invalid syntax",
                ),
            ),
            (
                "Pod",
                &pod,
                "70000",
                Err(
                    "error parsing local port '70000': strconv.ParseUint: parsing \"70000\": value out of range",
                ),
            ),
            ("Service", &service, "80", Ok((80, 8080))),
            ("Service", &service, "web", Ok((80, 8080))),
            ("Service", &service, "5:81", Ok((5, 9))),
            (
                "Service",
                &service,
                "82",
                Err("Service s does not have a service port 82"),
            ),
            (
                "Service",
                &service,
                "x",
                Err("Service 's' does not have a named port 'x'"),
            ),
            (
                "Service",
                &service,
                "53",
                Err("UDP protocol is not supported for 53"),
            ),
        ] {
            let got =
                numbers(&info(kind, object), &pod, &[word.to_string()]).and_then(|l| parse(&l[0]));
            assert_eq!(
                got.map_err(|e| e.to_string()),
                want.map_err(String::from),
                "{kind} {word}"
            );
        }
    }
}
