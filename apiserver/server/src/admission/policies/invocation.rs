//! Which bound policies a write meets, and with which parameters.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{problem::Problem, status::Status},
};
use skiff_storage::Object;

use super::{
    known::Hook,
    policy::{Binding, ParamKind, ParamRef, Policy, Which},
};
use crate::{
    admission::{
        expressions::{self, Asker, Input},
        matching,
        plugin::Attributes,
        view::View,
    },
    conversion,
    stored::{self, LabelsOf},
};

/// A policy that is to be asked, for a binding, with one parameter.
pub struct Invocation<'h, D> {
    pub policy: &'h Policy<D>,
    pub binding: &'h Binding,
    /// The version by which the policy means the write.
    pub kind: Arc<Kind>,
    pub params: Option<Value>,
}

impl<D> Invocation<'_, D> {
    /// What its expressions are given.
    pub fn input<'a>(
        &'a self,
        attributes: &Attributes<'_>,
        view: &'a View,
        namespace: Option<&'a Value>,
        asker: &'a Asker,
    ) -> Input<'a> {
        Input {
            object: view.object.as_ref(),
            old: view.old.as_ref(),
            request: view.request(attributes),
            namespace,
            params: self.params.as_ref(),
            asker: Some(asker),
        }
    }
}

/// A policy that means the write and cannot be asked.
pub struct Misconfigured<'h, D> {
    pub policy: &'h Policy<D>,
    /// `None`: it is the policy itself.
    pub binding: Option<&'h Binding>,
    pub why: String,
}

/// What a policy does, or why it cannot.
pub type Met<'h, D> = Result<Invocation<'h, D>, Misconfigured<'h, D>>;

/// All bound policies that mean a write, in the order in which they are asked.
pub async fn invocations<'h, D>(
    hooks: &'h [Hook<D>],
    attributes: &Attributes<'_>,
) -> Vec<Met<'h, D>> {
    let mut met = Vec::new();
    for hook in hooks {
        let policy = &*hook.policy;
        let of_policy = |why: String| Misconfigured {
            policy,
            binding: None,
            why: format!("failed to configure policy: {why}"),
        };
        let matched = match &policy.criteria {
            Ok(criteria) => criteria
                .matches(attributes)
                .map_err(|status| status.message),
            Err(why) => Err(why.to_string()),
        };
        let kind = match matched {
            Ok(None) => continue,
            Ok(Some(kind)) => kind,
            Err(why) => {
                met.push(Err(of_policy(why)));
                continue;
            }
        };
        let param_kind = match policy.params.as_ref().map(|of| served(of, attributes)) {
            None => None,
            Some(Ok(kind)) => Some(kind),
            Some(Err(why)) => {
                met.push(Err(of_policy(why.0)));
                continue;
            }
        };
        for binding in &hook.bindings {
            match params(binding, param_kind, attributes).await {
                Ok(found) => met.extend(found.into_iter().map(|params| {
                    Ok(Invocation {
                        policy,
                        binding,
                        kind: kind.clone(),
                        params,
                    })
                })),
                Err(why) => met.push(Err(Misconfigured {
                    policy,
                    binding: Some(binding),
                    why: format!("failed to configure binding: {why}"),
                })),
            }
        }
    }
    met
}

fn served<'k>(of: &ParamKind, attributes: &Attributes<'k>) -> Result<&'k Arc<Kind>, Problem> {
    let found = (attributes.kinds.find_kind(&of.group, &of.version, &of.kind))
        .filter(|kind| kind.is_stored());
    found.ok_or_else(|| {
        Problem(format!(
            "failed to find resource referenced by paramKind: '{of}'"
        ))
    })
}

/// The parameters of a binding that means a write, one after another; `None` stands for none at all.
async fn params(
    binding: &Binding,
    kind: Option<&Arc<Kind>>,
    attributes: &Attributes<'_>,
) -> Result<Vec<Option<Value>>, Problem> {
    let means = match &binding.criteria {
        Ok(criteria) => criteria
            .matches(attributes)
            .map_err(|status| Problem(status.message))?,
        Err(why) => return Err(Problem(why.to_string())),
    };
    let (Some(_), Some(kind), Some(reference)) = (&means, kind, &binding.params) else {
        return Ok(means.map(|_| None).into_iter().collect());
    };
    let found = referred(reference, kind, attributes).await?;
    if found.is_empty() && reference.must_exist {
        return Err(Problem(
            "no params found for policy binding with `Deny` parameterNotFoundAction".into(),
        ));
    }
    Ok(found.into_iter().map(Some).collect())
}

/// The objects that a reference means.
async fn referred(
    reference: &ParamRef,
    kind: &Kind,
    attributes: &Attributes<'_>,
) -> Result<Vec<Value>, Problem> {
    let own = matching::namespace_of(attributes);
    let namespace = match (kind.namespaced, reference.namespace.as_str()) {
        (true, "") if own.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => own,
        (true, given) => given,
        (false, "") => "",
        (false, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into(),
            );
        }
    };
    let resource = kind.stored_resource();
    let objects: Vec<_> = match &reference.which {
        Which::Named(name) => (attributes.stored(&resource, namespace, name))
            .into_iter()
            .collect(),
        Which::Selected(_) => {
            let among = kind.namespaced.then_some(namespace);
            let snapshot = attributes.core.store.snapshot(&resource);
            snapshot.range(among, None).collect()
        }
    };
    let told = |status: Status| Problem(status.message);
    let objects = conversion::all_shown(attributes.core, kind, objects)
        .await
        .map_err(told)?;
    let read = |object: &Arc<Object>| stored::decoded(kind, object).map_err(told);
    match &reference.which {
        Which::Named(_) => objects.iter().map(read).collect(),
        Which::Selected(selector) => {
            let selector = selector.as_ref().map_err(|why| Problem(why.to_string()))?;
            let selected = |object: &&Arc<Object>| selector.matches(&LabelsOf(object.attributes()));
            objects.iter().filter(selected).map(read).collect()
        }
    }
}

/// What policies see of the namespace of a write; a namespace is in none.
///
/// # Errors
/// There is no such namespace.
pub fn namespace(attributes: &Attributes<'_>) -> Result<Option<Value>, Status> {
    if attributes.namespace.is_empty() || matching::is_namespace(attributes.kind) {
        return Ok(None);
    }
    match attributes.look_up("namespaces", "", attributes.namespace)? {
        Some(namespace) => Ok(Some(expressions::namespace_object(&namespace))),
        None => Err(Status::not_found("", "namespaces", attributes.namespace)),
    }
}
