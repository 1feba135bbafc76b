//! PodResizeValidator: a running pod is not resized beyond what its node could ever give.
//!
//! Follows `plugin/pkg/admission/podresize/admission.go`.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    quantity::Quantity,
    read::Read,
    status::{Cause, Status},
};
use skiff_podspec::resources::{Options, Unreadable, read, requests};
use skiff_watching::api::Wire;

use super::plugin::{Attributes, Operation, Plugin};

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
        let (Some(pod), Some(old)) = (&attributes.object, attributes.old) else {
            return Ok(());
        };
        let name = pod.at("spec").text("nodeName");
        if name.is_empty()
            || pod.at("metadata").at("generation") == old.at("metadata").at("generation")
        {
            return Ok(());
        }
        let Some(node) = attributes.look_up("nodes", "", name)? else {
            return Err(attributes.forbidden(format_args!(
                "node {name} not found",
                name = GoQuoted(&name)
            )));
        };
        let (pod, node) = (
            Pod::from_value(pod).map_err(Status::internal)?,
            Node::from_value(&node).map_err(Status::internal)?,
        );
        let Some((cause, why)) = refusal(&pod, &node).map_err(Status::internal)? else {
            return Ok(());
        };
        let mut status = attributes.forbidden(why);
        let details = status.details.get_or_insert_default();
        details.causes.push(Cause {
            reason: cause.into(),
            message: String::new(),
            field: String::new(),
        });
        Err(status)
    }
}

fn refusal(pod: &Pod, node: &Node) -> Result<Option<(&'static str, String)>, Unreadable> {
    let name = node.metadata.name.as_deref().unwrap_or("");
    match node
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("kubernetes.io/os"))
    {
        Some(os) if os != "linux" => {
            return Ok(Some((
                "UnsupportedPlatform",
                format!(
                    "pod resize is only supported on linux nodes, node {name} is {os}",
                    name = GoQuoted(&name),
                    os = GoQuoted(&os)
                ),
            )));
        }
        _ => {}
    }
    let requests = requests(pod, Options::default())?;
    let allocatable = read(
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref()),
    )?;
    let none = Quantity::default();
    let figures: [(&str, fn(&Quantity) -> i64); 2] =
        [("cpu", Quantity::milli_value), ("memory", Quantity::value)];
    let over: Vec<String> = figures
        .into_iter()
        .filter_map(|(name, figure)| {
            let (wanted, there) = (
                requests.get(name).unwrap_or(&none),
                allocatable.get(name).unwrap_or(&none),
            );
            (wanted > there).then(|| {
                format!(
                    "{name}, requested: {}, allocatable: {}",
                    figure(wanted),
                    figure(there)
                )
            })
        })
        .collect();
    Ok((!over.is_empty()).then(|| {
        (
            "NodeCapacity",
            format!(
                "node didn't have enough allocatable resources: {}",
                over.join("; ")
            ),
        )
    }))
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
            (
                "2",
                "1Mi",
                "linux",
                Some((
                    "NodeCapacity",
                    both.replace("requested: 2000", "requested: 2100"),
                )),
            ),
            (
                "3",
                "2Gi",
                "linux",
                Some((
                    "NodeCapacity",
                    format!(
                        "{}; memory, requested: 2147483648, allocatable: 1073741824",
                        both.replace("requested: 2000", "requested: 3100")
                    ),
                )),
            ),
            (
                "1",
                "1Mi",
                "windows",
                Some((
                    "UnsupportedPlatform",
                    "pod resize is only supported on linux nodes, node \"n\" is \"windows\"".into(),
                )),
            ),
        ] {
            let (pod, node) = (
                serde_json::from_value(pod(cpu, memory)).unwrap(),
                serde_json::from_value(node(os)).unwrap(),
            );
            assert_eq!(refusal(&pod, &node), Ok(wanted), "{cpu} {memory} {os}");
        }
    }
}
