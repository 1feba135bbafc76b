//! PodResizeValidator: a running pod is not resized beyond what its node could ever give.
//!
//! Follows `plugin/pkg/admission/podresize/admission.go`.

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::machinery::{
    quantity::{Format, Quantity},
    status::{Cause, Status},
};

use super::{
    Attributes, Operation, Plugin,
    limit_ranger::{list, pod_sum},
};

pub struct PodResizeValidator;

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        let of_pod = attributes.kind.group.is_empty() && attributes.kind.plural == "pods";
        of_pod && attributes.subresource == "resize" && attributes.operation == Operation::Update
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let (Some(pod), Some(old)) = (&attributes.object, attributes.old) else { return Ok(()) };
        let name = pod["spec"]["nodeName"].as_str().unwrap_or("");
        if name.is_empty() || pod["metadata"]["generation"] == old["metadata"]["generation"] {
            return Ok(());
        }
        let Some(node) = attributes.look_up("nodes", "", name)? else { return Err(attributes.forbidden(format_args!("node {name:?} not found"))) };
        let Some((cause, why)) = refusal(pod, &node) else { return Ok(()) };
        let mut status = attributes.forbidden(why);
        let details = status.details.get_or_insert_default();
        details.causes.push(Cause { reason: cause.into(), message: String::new(), field: String::new() });
        Err(status)
    }
}

fn refusal(pod: &Value, node: &Value) -> Option<(&'static str, String)> {
    let name = node["metadata"]["name"].as_str().unwrap_or("");
    match node["metadata"]["labels"]["kubernetes.io/os"].as_str() {
        Some(os) if os != "linux" => return Some(("UnsupportedPlatform", format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}"))),
        _ => {}
    }
    let mut requests = pod_sum(pod, "requests");
    for (name, amount) in list(&pod["spec"]["overhead"]) {
        requests.entry(name).and_modify(|sum| sum.add(&amount)).or_insert(amount);
    }
    let allocatable = list(&node["status"]["allocatable"]);
    let none = Quantity::from_i64(0, Format::DecimalSi);
    let figures: [(&str, fn(&Quantity) -> i64); 2] = [("cpu", Quantity::milli_value), ("memory", Quantity::value)];
    let over: Vec<String> = figures
        .into_iter()
        .filter_map(|(name, figure)| {
            let (wanted, there) = (requests.get(name).unwrap_or(&none), allocatable.get(name).unwrap_or(&none));
            (wanted > there).then(|| format!("{name}, requested: {}, allocatable: {}", figure(wanted), figure(there)))
        })
        .collect();
    (!over.is_empty()).then(|| ("NodeCapacity", format!("node didn't have enough allocatable resources: {}", over.join("; "))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_node_of_that_size_could_give() {
        let node = |os: &str| json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": os}}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        let pod = |cpu: &str, memory: &str| json!({"spec": {"overhead": {"cpu": "100m"}, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}});
        let both = "node didn't have enough allocatable resources: cpu, requested: 2000, allocatable: 2000";
        for (cpu, memory, os, wanted) in [
            ("1900m", "1Gi", "linux", None),
            ("2", "1Mi", "linux", Some(("NodeCapacity", both.replace("requested: 2000", "requested: 2100")))),
            (
                "3",
                "2Gi",
                "linux",
                Some((
                    "NodeCapacity",
                    format!("{}; memory, requested: 2147483648, allocatable: 1073741824", both.replace("requested: 2000", "requested: 3100")),
                )),
            ),
            ("1", "1Mi", "windows", Some(("UnsupportedPlatform", "pod resize is only supported on linux nodes, node \"n\" is \"windows\"".into()))),
        ] {
            assert_eq!(refusal(&pod(cpu, memory), &node(os)), wanted, "{cpu} {memory} {os}");
        }
    }
}
