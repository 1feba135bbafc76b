//! The node authorizer: what a kubelet may do, judged by the pods that are bound to its node.
//!
//! Invariant: a node reads a secret, config map, claim, volume, service account or token only while a pod of its own refers to it, judged
//! on the objects as they are at that moment. Follows `plugin/pkg/auth/authorizer/node/node_authorizer.go`; the graph of upstream is
//! `node_pods.rs` here.

use std::sync::Arc;

use skiff_api::machinery::selector::FieldSelector;

use super::{bootstrap, node_pods::Referred, rule};
use crate::auth::{
    Attributes, Authorizer, Decision, NODE_USER_PREFIX, NODES_GROUP, Objects, PolicyRule, Rules,
    User,
    authorize::{node_pods::NodePods, quote},
};

/// The node that a user is: `None` for others, an empty name for a node without one.
pub fn node_identity(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_USER_PREFIX)?;
    user.in_group(NODES_GROUP).then_some(name)
}

pub struct NodeAuthorizer {
    pods: NodePods,
    rules: Vec<PolicyRule>,
}

impl NodeAuthorizer {
    pub fn new(objects: Arc<dyn Objects>) -> NodeAuthorizer {
        NodeAuthorizer {
            pods: NodePods::new(objects),
            rules: bootstrap::rules_of("system:node"),
        }
    }

    /// `None`: the rules that all nodes have decide.
    fn resource(&self, node: &str, asked: &Attributes) -> Option<Decision> {
        let plain = asked.subresource.is_empty();
        Some(match (asked.group.as_str(), asked.resource.as_str()) {
            ("", "secrets") => self.read(node, Referred::Secret, asked),
            ("", "configmaps") => self.read(node, Referred::ConfigMap, asked),
            ("", "persistentvolumeclaims") if asked.subresource == "status" => {
                match asked.verb.as_str() {
                    "update" | "patch" => self.related(node, Referred::Claim, asked),
                    _ => no("can only get/update/patch this type"),
                }
            }
            ("", "persistentvolumeclaims") => self.get(node, Referred::Claim, asked),
            ("", "persistentvolumes") => self.get(node, Referred::Volume, asked),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Referred::ResourceClaim, asked),
            ("storage.k8s.io", "volumeattachments") => {
                self.get(node, Referred::VolumeAttachment, asked)
            }
            ("", "serviceaccounts") if asked.verb == "get" && plain => {
                self.read(node, Referred::ServiceAccount, asked)
            }
            ("", "serviceaccounts") => self.token(node, asked),
            ("coordination.k8s.io", "leases") => lease(node, asked),
            ("storage.k8s.io", "csinodes") => csi_node(node, asked),
            ("resource.k8s.io", "resourceslices") => self.slice(node, asked),
            ("", "nodes") => own_node(node, asked),
            ("", "pods") => self.pod(node, asked),
            // Pod certificates are off, as upstream has them by default.
            ("certificates.k8s.io", "podcertificaterequests") => no(""),
            _ => return None,
        })
    }

    fn related(&self, node: &str, kind: Referred, asked: &Attributes) -> Decision {
        if asked.name.is_empty() {
            return no("No Object name found");
        }
        match self.pods.refers(node, kind, &asked.namespace, &asked.name) {
            true => Decision::Allow(String::new()),
            false => no(&format!(
                "no relationship found between node '{node}' and this object"
            )),
        }
    }

    fn get(&self, node: &str, kind: Referred, asked: &Attributes) -> Decision {
        match (asked.verb.as_str(), asked.subresource.as_str()) {
            ("get", "") => self.related(node, kind, asked),
            ("get", _) => no("cannot get subresource"),
            _ => no("can only get individual resources of this type"),
        }
    }

    fn read(&self, node: &str, kind: Referred, asked: &Attributes) -> Decision {
        if !asked.read_only() {
            return no("can only read resources of this type");
        }
        if !asked.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if asked.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, kind, asked)
    }

    fn token(&self, node: &str, asked: &Attributes) -> Decision {
        if asked.verb != "create" || asked.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if asked.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Referred::ServiceAccount, asked)
    }

    fn slice(&self, node: &str, asked: &Attributes) -> Decision {
        if !asked.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match asked.verb.as_str() {
            "create" => Decision::Allow(String::new()),
            "get" | "update" | "patch" | "delete" => {
                self.related(node, Referred::ResourceSlice, asked)
            }
            "watch" | "list" | "deletecollection" if selects(asked, "spec.nodeName", node) => {
                Decision::Allow(String::new())
            }
            "watch" | "list" | "deletecollection" => no(
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, asked: &Attributes) -> Decision {
        match (asked.subresource.as_str(), asked.verb.as_str()) {
            ("", "get") => self.get(node, Referred::Pod, asked),
            ("", "list" | "watch") if selects(asked, "spec.nodeName", node) => {
                Decision::Allow(String::new())
            }
            ("", "list" | "watch") if !asked.name.is_empty() => {
                self.related(node, Referred::Pod, asked)
            }
            ("", "list" | "watch") => {
                no("can only list/watch pods with spec.nodeName field selector")
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Decision::Allow(String::new())
            }
            _ => no(""),
        }
    }
}

fn no(reason: &str) -> Decision {
    Decision::NoOpinion(reason.to_owned())
}

fn selects(asked: &Attributes, field: &str, value: &str) -> bool {
    asked
        .field_selector
        .parse::<FieldSelector>()
        .is_ok_and(|selector| selector.requires_exact_match(field) == Some(value))
}

fn lease(node: &str, asked: &Attributes) -> Decision {
    match asked.verb.as_str() {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if asked.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Decision::Allow(String::new())
}

fn csi_node(node: &str, asked: &Attributes) -> Decision {
    match asked.verb.as_str() {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a CSINode"),
    }
    if !asked.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Decision::Allow(String::new())
}

fn own_node(node: &str, asked: &Attributes) -> Decision {
    match (asked.subresource.as_str(), asked.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => {
            Decision::Allow(String::new())
        }
        ("", "get" | "list" | "watch") if asked.name == node => Decision::Allow(String::new()),
        ("", "get" | "list" | "watch") if asked.name.is_empty() => no(&format!(
            "node '{node}' cannot read all nodes, only its own Node object"
        )),
        ("", "get" | "list" | "watch") => no(&format!(
            "node '{node}' cannot read '{}', only its own Node object",
            asked.name
        )),
        _ => no(""),
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, asked: &Attributes) -> Decision {
        let Some(node) = node_identity(&asked.user) else {
            return no("");
        };
        if node.is_empty() {
            return no(&format!(
                "unknown node for user {}",
                quote(&asked.user.name)
            ));
        }
        if asked.resource_request
            && let Some(decision) = self.resource(node, asked)
        {
            return decision;
        }
        match self.rules.iter().any(|rule| rule::allows(rule, asked)) {
            true => Decision::Allow(String::new()),
            false => no(""),
        }
    }

    fn rules(&self, user: &User, _: &str) -> Rules {
        match node_identity(user) {
            Some(_) => Rules {
                incomplete: true,
                errors: vec!["node authorizer does not support user rule resolution".to_owned()],
                ..Rules::default()
            },
            None => Rules::default(),
        }
    }
}

#[cfg(test)]
#[path = "tests/node.rs"]
mod tests;
