//! NamespaceLifecycle: nothing is made in a namespace that is absent or ends, and the cluster's own namespaces stay.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go`.

use async_trait::async_trait;
use skiff_api::machinery::status::{Cause, Details, Status};

use super::plugin::{Attributes, Operation, Plugin};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        match attributes.operation {
            Operation::Create | Operation::Update => {
                attributes.kind.namespaced && attributes.kind.plural != "localsubjectaccessreviews"
            }
            Operation::Delete => {
                attributes.kind.group.is_empty() && attributes.kind.plural == "namespaces"
            }
            Operation::Connect => false,
        }
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        if attributes.operation == Operation::Delete {
            return immortal(attributes);
        }
        let Some(namespace) = attributes.stored("namespaces", "", attributes.namespace) else {
            return Err(Status::not_found("", "namespaces", attributes.namespace));
        };
        if attributes.operation != Operation::Create || !namespace.attributes().deleting {
            return Ok(());
        }
        let name = attributes.namespace;
        let mut status = attributes.forbidden(format_args!(
            "unable to create new content in namespace {name} because it is being terminated"
        ));
        status
            .details
            .get_or_insert_with(Details::default)
            .causes
            .push(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {name} is being terminated"),
                field: "metadata.namespace".into(),
            });
        Err(status)
    }
}

fn immortal(attributes: &Attributes<'_>) -> Result<(), Status> {
    match IMMORTAL.contains(&attributes.name) {
        true => Err(attributes.forbidden("this namespace may not be deleted")),
        false => Ok(()),
    }
}
