//! The object that a token lives by: a pod, a secret or a node.
//!
//! Invariant: a token is bound to the object that is there, by uid, and to no pod that runs as another account.
//! Follows `pkg/registry/core/serviceaccount/storage/token.go`.

use serde_json::{Value, json};
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::{meta::Meta, read::Read, status::Status};

use crate::auth::Objects;

/// What a token is bound to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoundTo {
    /// `Pod`, `Secret` or `Node`.
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// Name and uid of the node that a pod runs on; the uid is empty when the node is not known.
    pub node: Option<(String, String)>,
}

impl BoundTo {
    /// Resolves `spec.boundObjectRef` of a request for the account `account` of `namespace`; `null` binds to nothing. The error is the answer.
    pub fn resolve(
        objects: &dyn Objects,
        namespace: &str,
        account: &str,
        reference: &Value,
    ) -> Result<Option<BoundTo>, Status> {
        if reference.is_null() {
            return Ok(None);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (group, version) = text("apiVersion")
            .rsplit_once('/')
            .unwrap_or(("", text("apiVersion")));
        let (kind, name) = (text("kind"), text("name"));
        let (resource, namespace) = match (group, kind) {
            ("", "Pod") => ("pods", namespace),
            ("", "Secret") => ("secrets", namespace),
            ("", "Node") => ("nodes", ""),
            _ => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        let object = find(objects, resource, namespace, name)?
            .ok_or_else(|| Status::not_found("", resource, name))?;
        let mut node = None;
        if kind == "Pod" {
            let spec = object.at("spec");
            if spec["serviceAccountName"] != account {
                let why = format!(
                    "cannot bind token for serviceaccount {} to pod running with different serviceaccount name.",
                    go_quote(account)
                );
                return Err(Status::bad_request(why));
            }
            if let Some(name) = spec.text_ptr("nodeName").filter(|name| !name.is_empty()) {
                let uid = find(objects, "nodes", "", name)?
                    .map(|node| node.uid().to_owned())
                    .unwrap_or_default();
                node = Some((name.to_owned(), uid));
            }
        }
        if !text("uid").is_empty() && text("uid") != object.uid() {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                text("uid")
            );
            return Err(Status::conflict(group, kind, name, &why));
        }
        Ok(Some(BoundTo {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: object.uid().to_owned(),
            node,
        }))
    }

    /// Writes itself into the claim `kubernetes.io`.
    pub(super) fn claim(&self, kubernetes: &mut Value) {
        kubernetes[self.kind.to_ascii_lowercase()] = json!({"name": self.name, "uid": self.uid});
        if let (Some((name, uid)), "Pod") = (&self.node, self.kind.as_str()) {
            kubernetes["node"] = match uid.is_empty() {
                true => json!({"name": name}),
                false => json!({"name": name, "uid": uid}),
            };
        }
    }
}

fn find(
    objects: &dyn Objects,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let parse = |bytes: &[u8]| {
        serde_json::from_slice(bytes)
            .map_err(|error| Status::internal(format!("cannot read {resource} {name}: {error}")))
    };
    objects
        .get(resource, namespace, name)
        .map(|object| parse(&object.bytes.read()))
        .transpose()
}
