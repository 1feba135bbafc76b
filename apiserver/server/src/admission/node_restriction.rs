//! NodeRestriction: a node's credentials write only what is that node's.
//!
//! Follows `plugin/pkg/admission/noderestriction/admission.go`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Map, Value};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{meta::Meta, read::Read, status::Status};

use super::plugin::{Attributes, Operation, Plugin, Problem};
use crate::auth::authorize::node::node_identity;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Labels in Kubernetes' own name spaces that a node may set on itself.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

type Checked = Result<(), Problem>;

pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.operation != Operation::Connect && node_identity(attributes.user).is_some()
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = node_identity(attributes.user) else {
            return Ok(());
        };
        if node.is_empty() {
            return Err(attributes.forbidden(format_args!(
                "could not determine node from user {}",
                GoQuoted(&attributes.user.name)
            )));
        }
        let checked = match (attributes.kind.group, attributes.kind.plural) {
            ("", "pods") => pod(node, attributes)?,
            ("", "nodes") => own_node(node, attributes),
            ("", "persistentvolumeclaims") if attributes.subresource != "status" => {
                Err("may only update PVC status".into())
            }
            ("", "persistentvolumeclaims") => claim_status(node, attributes),
            ("", "serviceaccounts") if attributes.subresource == "token" => {
                token(node, attributes)?
            }
            ("coordination.k8s.io", "leases") => lease(node, attributes),
            ("storage.k8s.io", "csinodes") if object_name(attributes) != node => {
                Err("can only access CSINode with the same name as the requesting node".into())
            }
            ("resource.k8s.io", "resourceslices") => slice(node, attributes),
            ("certificates.k8s.io", "certificatesigningrequests") => certificate(node, attributes),
            _ => Ok(()),
        };
        checked.map_err(|why| attributes.forbidden(why))
    }
}

/// The name of the object itself, which a creation's path does not bear.
fn object_name<'a>(attributes: &'a Attributes<'_>) -> &'a str {
    match &attributes.object {
        Some(object) if attributes.operation == Operation::Create => object.name(),
        _ => attributes.name,
    }
}

fn pod(node: &str, attributes: &Attributes<'_>) -> Result<Checked, Status> {
    let shown = GoQuoted(node);
    let operation = attributes.operation.name();
    let bound_here =
        |pod: Option<&Value>| pod.is_some_and(|pod| pod.at("spec").at("nodeName") == node);
    Ok(match (attributes.subresource, attributes.operation) {
        ("", Operation::Create) => return create_pod(node, attributes),
        ("", Operation::Delete) if bound_here(attributes.old) => Ok(()),
        ("", Operation::Delete) => Err(format!(
            "node {shown} can only delete pods with spec.nodeName set to itself"
        )
        .into()),
        ("", _) => Err(format!(
            "unexpected operation {operation}, node {shown} can only create and delete mirror pods",
            operation = GoQuoted(&operation)
        )
        .into()),
        ("status", Operation::Update) => pod_status(node, attributes, bound_here(attributes.old)),
        ("status", _) => Err(format!(
            "unexpected operation {operation}",
            operation = GoQuoted(&operation)
        )
        .into()),
        ("eviction", Operation::Create)
            if bound_here(
                attributes
                    .look_up("pods", attributes.namespace, attributes.name)?
                    .as_ref(),
            ) =>
        {
            Ok(())
        }
        ("eviction", Operation::Create) => {
            Err(format!("node {node} can only evict pods with spec.nodeName set to itself").into())
        }
        ("eviction", _) => Err(format!("unexpected operation {operation}").into()),
        (other, _) => Err(format!(
            "unexpected pod subresource {other}, only 'status' and 'eviction' are allowed",
            other = GoQuoted(&other)
        )
        .into()),
    })
}

fn pod_status(node: &str, attributes: &Attributes<'_>, bound_here: bool) -> Checked {
    let shown = GoQuoted(node);
    let (Some(new), Some(old)) = (&attributes.object, attributes.old) else {
        return Ok(());
    };
    if !bound_here {
        return Err(format!(
            "node {shown} can only update pod status for pods with spec.nodeName set to itself"
        )
        .into());
    }
    let differ = |path: [&str; 2]| new[path[0]][path[1]] != old[path[0]][path[1]];
    if differ(["metadata", "labels"]) {
        return Err(format!("node {shown} cannot update labels through pod status").into());
    }
    if differ(["status", "resourceClaimStatuses"]) {
        return Err(format!("node {shown} cannot update resource claim statues").into());
    }
    if differ(["status", "extendedResourceClaimStatus"]) {
        return Err(format!("node {shown} cannot update extended resource claim status").into());
    }
    Ok(())
}

fn create_pod(node: &str, attributes: &Attributes<'_>) -> Result<Checked, Status> {
    let shown = GoQuoted(node);
    let Some(pod) = &attributes.object else {
        return Ok(Ok(()));
    };
    if pod.at("metadata").at("annotations").get(MIRROR).is_none() {
        return Ok(Err(format!(
            "pod does not have {MIRROR:?} annotation, node {shown} can only create mirror pods"
        )
        .into()));
    }
    if pod.at("spec").at("nodeName") != node {
        return Ok(Err(format!(
            "node {shown} can only create pods with spec.nodeName set to itself"
        )
        .into()));
    }
    let owner = match pod
        .at("metadata")
        .at("ownerReferences")
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        [owner] => owner,
        [] => {
            return Ok(Err(format!(
                "node {shown} can only create pods with an owner reference set to itself"
            )
            .into()));
        }
        _ => {
            return Ok(Err(format!(
                "node {shown} can only create pods with a single owner reference set to itself"
            )
            .into()));
        }
    };
    if owner.text("apiVersion") != "v1" || owner.text("kind") != "Node" || owner.at("name") != node
    {
        return Ok(Err(format!(
            "node {shown} can only create pods with an owner reference set to itself"
        )
        .into()));
    }
    if !owner.flag("controller") {
        return Ok(Err(format!(
            "node {shown} can only create pods with a controller owner reference set to itself"
        )
        .into()));
    }
    if owner.flag("blockOwnerDeletion") {
        return Ok(Err(format!(
            "node {shown} must not set blockOwnerDeletion on an owner reference"
        )
        .into()));
    }
    let Some(stored) = attributes.stored("nodes", "", node) else {
        return Err(Status::not_found("", "nodes", node));
    };
    let given = owner.text("uid");
    if given != stored.attributes().uid() {
        return Ok(Err(format!(
            "node {node} UID mismatch: expected {given} got {}",
            stored.attributes().uid()
        )
        .into()));
    }
    Ok(match api_reference(pod) {
        Some(what) => Err(format!("node {shown} can not create pods that reference {what}").into()),
        None => Ok(()),
    })
}

/// What of the API a pod refers to besides its node: a mirror pod may not.
fn api_reference(pod: &Value) -> Option<&'static str> {
    let spec = pod.at("spec");
    if spec
        .text_ptr("serviceAccountName")
        .is_some_and(|name| !name.is_empty())
    {
        return Some("serviceaccounts");
    }
    if !spec.list("imagePullSecrets").is_empty() {
        return Some("secrets");
    }
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    for container in lists
        .iter()
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
    {
        for env in container.list("env").iter().map(|env| env.at("valueFrom")) {
            if env.at("secretKeyRef").is_object() {
                return Some("secrets");
            }
            if env.at("configMapKeyRef").is_object() {
                return Some("configmaps");
            }
        }
        for from in container.list("envFrom").iter() {
            if from.at("secretRef").is_object() {
                return Some("secrets");
            }
            if from.at("configMapRef").is_object() {
                return Some("configmaps");
            }
        }
    }
    if !spec.list("resourceClaims").is_empty() {
        return Some("resourceclaims");
    }
    // everything but what lives on the node itself
    const LOCAL: [&str; 5] = ["emptyDir", "hostPath", "downwardAPI", "gitRepo", "image"];
    let volumes = spec.list("volumes").iter().filter_map(Value::as_object);
    volumes
        .flat_map(Map::keys)
        .filter(|key| *key != "name" && !LOCAL.contains(&key.as_str()))
        .map(|key| volume_resource(key))
        .next()
}

fn volume_resource(source: &str) -> &'static str {
    match source {
        "configMap" => "configmaps",
        "persistentVolumeClaim" => "persistentvolumeclaims",
        "projected" => "serviceaccounts (via projected volumes)",
        "csi" => "csidrivers (via CSI volumes)",
        _ => "secrets",
    }
}

fn own_node(node: &str, attributes: &Attributes<'_>) -> Checked {
    let shown = GoQuoted(node);
    let name = object_name(attributes);
    if name != node {
        return Err(format!(
            "node {shown} is not allowed to modify node {name}",
            name = GoQuoted(&name)
        )
        .into());
    }
    let Some(new) = &attributes.object else {
        return Ok(());
    };
    let none = Value::Null;
    let labels = |value: &Value| {
        value
            .at("metadata")
            .map("labels")
            .cloned()
            .unwrap_or_default()
    };
    match (attributes.operation, attributes.old.unwrap_or(&none)) {
        (Operation::Create, _) => {
            if new.at("spec").at("configSource").is_object() {
                return Err(format!(
                    "node {shown} is not allowed to create pods with a non-nil configSource"
                )
                .into());
            }
            let forbidden = forbidden_labels(&labels(new), &Map::new());
            if !forbidden.is_empty() {
                return Err(format!(
                    "node {shown} is not allowed to set the following labels: {forbidden}"
                )
                .into());
            }
        }
        (Operation::Update, old) => {
            if new.at("spec").at("configSource").is_object()
                && new.at("spec").at("configSource") != old.at("spec").at("configSource")
            {
                return Err(format!(
                    "node {shown} is not allowed to update configSource to a new non-nil configSource"
                ).into());
            }
            if new.at("spec").at("taints") != old.at("spec").at("taints") {
                return Err(format!("node {shown} is not allowed to modify taints").into());
            }
            if new.at("metadata").at("ownerReferences") != old.at("metadata").at("ownerReferences")
            {
                return Err(
                    format!("node {shown} is not allowed to modify ownerReferences").into(),
                );
            }
            let forbidden = forbidden_labels(&labels(new), &labels(old));
            if !forbidden.is_empty() {
                return Err(format!("is not allowed to modify labels: {forbidden}").into());
            }
        }
        _ => {}
    }
    Ok(())
}

fn within(namespace: &str, suffix: &str) -> bool {
    namespace == suffix
        || namespace
            .strip_suffix(suffix)
            .is_some_and(|rest| rest.ends_with('.'))
}

/// The keys, joined, that differ and that a node may not touch.
fn forbidden_labels(new: &Map<String, Value>, old: &Map<String, Value>) -> String {
    let differs = |key: &&String| new.get(*key) != old.get(*key);
    let forbidden = |key: &&String| {
        let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
        let own = OWN_LABELS.contains(&key.as_str())
            || within(namespace, "kubelet.kubernetes.io")
            || within(namespace, "node.kubernetes.io");
        within(namespace, "node-restriction.kubernetes.io")
            || (within(namespace, "kubernetes.io") || within(namespace, "k8s.io")) && !own
    };
    let keys: BTreeSet<&str> = new
        .keys()
        .chain(old.keys())
        .filter(differs)
        .filter(forbidden)
        .map(String::as_str)
        .collect();
    keys.into_iter().collect::<Vec<_>>().join(", ")
}

fn claim_status(node: &str, attributes: &Attributes<'_>) -> Checked {
    let shown = GoQuoted(node);
    let (Some(new), Some(old)) = (&attributes.object, attributes.old) else {
        return Ok(());
    };
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            claim.meta_mut().remove(field);
        }
        if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
            [
                "capacity",
                "conditions",
                "allocatedResourceStatuses",
                "allocatedResources",
            ]
            .iter()
            .for_each(|field| {
                status.remove(*field);
            });
        }
        claim
    };
    match rest(new) == rest(old) {
        true => Ok(()),
        false => Err(format!(
            "node {shown} is not allowed to update fields other than status.quantity and status.conditions"
        ).into()),
    }
}

fn token(node: &str, attributes: &Attributes<'_>) -> Result<Checked, Status> {
    let Some(request) = &attributes.object else {
        return Ok(Ok(()));
    };
    let bound = request.at("spec").at("boundObjectRef");
    let text = |field: &str| bound[field].as_str().unwrap_or("");
    if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
        return Ok(Err("node requested token not bound to a pod".into()));
    }
    if text("uid").is_empty() {
        return Ok(Err(
            "node requested token with a pod binding without a uid".into()
        ));
    }
    let Some(pod) = attributes.look_up("pods", attributes.namespace, text("name"))? else {
        return Err(Status::not_found("", "pods", text("name")));
    };
    if pod.uid() != text("uid") {
        return Ok(Err(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        ).into()));
    }
    if pod.at("spec").at("nodeName") != node {
        return Ok(Err(
            "node requested token bound to a pod scheduled on a different node".into(),
        ));
    }
    let audience = match request
        .at("spec")
        .at("audiences")
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        [] => "",
        [one] => one.as_str().unwrap_or(""),
        _ => return Ok(Err("node may only request 0 or 1 audiences".into())),
    };
    let sources = pod
        .at("spec")
        .list("volumes")
        .iter()
        .flat_map(|volume| volume.at("projected").list("sources").iter());
    let named = sources
        .map(|source| source.at("serviceAccountToken"))
        .any(|token| token.is_object() && token.text("audience") == audience);
    Ok(match named {
        true => Ok(()),
        false => {
            let user = &attributes.user.name;
            Err(format!(
                "audience {audience} not found in pod spec volume, {user} is not authorized to request tokens for this audience",
                audience = GoQuoted(&audience)
            ).into())
        }
    })
}

fn lease(node: &str, attributes: &Attributes<'_>) -> Checked {
    if attributes.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace").into());
    }
    match object_name(attributes) == node {
        true => Ok(()),
        false => Err("can only access node lease with the same name as the requesting node".into()),
    }
}

fn slice(node: &str, attributes: &Attributes<'_>) -> Checked {
    let (verb, slice) = match attributes.operation {
        Operation::Create => ("create", attributes.object.as_ref()),
        Operation::Delete => ("delete", attributes.old),
        _ => return Ok(()),
    };
    match slice.is_none_or(|slice| slice.at("spec").at("nodeName") == node) {
        true => Ok(()),
        false => Err(format!(
            "can only {verb} ResourceSlice with the same NodeName as the requesting node"
        )
        .into()),
    }
}

/// A node asks for certificates of its own name only.
fn certificate(node: &str, attributes: &Attributes<'_>) -> Checked {
    use base64::Engine;
    use x509_parser::prelude::FromDer;
    const SIGNERS: [&str; 2] = [
        "kubernetes.io/kubelet-serving",
        "kubernetes.io/kube-apiserver-client-kubelet",
    ];
    let Some(request) = attributes
        .object
        .as_ref()
        .filter(|_| attributes.operation == Operation::Create)
    else {
        return Ok(());
    };
    if !SIGNERS.contains(&request.at("spec").text("signerName")) {
        return Ok(());
    }
    let pem = base64::engine::general_purpose::STANDARD
        .decode(request.at("spec").text("request"))
        .unwrap_or_default();
    let unparsable = |why: &dyn std::fmt::Display| format!("unable to parse csr: {why}");
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|error| unparsable(&error))?;
    let (_, csr) =
        x509_parser::certification_request::X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| unparsable(&error))?;
    let name = csr
        .certification_request_info
        .subject
        .iter_common_name()
        .last()
        .and_then(|name| name.as_str().ok())
        .unwrap_or("");
    let wanted = format!("system:node:{node}");
    match name == wanted {
        true => Ok(()),
        false => Err(format!("can only create a node CSR with CN={wanted}").into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_that_a_node_may_not_touch() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        for (new, old, wanted) in [
            (
                json!({"a": "b", "kubernetes.io/hostname": "x"}),
                json!({}),
                "",
            ),
            (
                json!({"node-restriction.kubernetes.io/x": "1"}),
                json!({}),
                "node-restriction.kubernetes.io/x",
            ),
            (
                json!({"node-role.kubernetes.io/master": ""}),
                json!({}),
                "node-role.kubernetes.io/master",
            ),
            (
                json!({"node-role.kubernetes.io/master": ""}),
                json!({"node-role.kubernetes.io/master": ""}),
                "",
            ),
            (
                json!({}),
                json!({"k8s.io/b": "", "a.k8s.io/c": ""}),
                "a.k8s.io/c, k8s.io/b",
            ),
            (
                json!({"x.node.kubernetes.io/y": "", "notkubernetes.io/z": ""}),
                json!({}),
                "",
            ),
        ] {
            assert_eq!(forbidden_labels(&map(new), &map(old)), wanted);
        }
    }

    #[test]
    fn what_mirror_pods_refer_to() {
        for (spec, wanted) in [
            (
                json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}]}),
                None,
            ),
            (json!({"serviceAccountName": "x"}), Some("serviceaccounts")),
            (
                json!({"volumes": [{"name": "a", "secret": {}}]}),
                Some("secrets"),
            ),
            (
                json!({"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}),
                Some("configmaps"),
            ),
        ] {
            assert_eq!(api_reference(&json!({"spec": spec})), wanted);
        }
    }
}
