//! The status controller of ValidatingAdmissionPolicies: tells in the status of each what its expressions ask of the kinds that it is about and those do
//! not have.
//!
//! Invariant: nothing follows from it but what the status says; a policy is looked at once a generation.
//! Follows pkg/controller/validatingadmissionpolicystatus and
//! staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go.

mod types;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec,
};
use serde_json::{Value, json};
use skiff_api::machinery::cel::{
    Type,
    admission::{Compiler, Fault, Gives},
};

use self::types::{Asked, Types};
use crate::prelude::*;

const NAME: &str = "validatingadmissionpolicy-status";

struct Controller {
    api: Api,
    policies: Informer<ValidatingAdmissionPolicy>,
}

/// `validatingadmissionpolicy-status-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "validatingadmissionpolicy-status",
        Controller {
            api: context.api.clone(),
            policies: context.informer(),
        },
    );
    c.each_there(&c.policies);
    Ok(c.some_workers(1))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = NAME;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(policy) = self.policies.get(key) else {
            return Ok(Next::DONE);
        };
        let observed = policy
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        let generation = policy.metadata.generation.unwrap_or(0);
        let Some(spec) = policy
            .spec
            .as_ref()
            .filter(|_| generation > observed.unwrap_or(0))
        else {
            return Ok(Next::DONE);
        };
        let warnings = self.warnings(spec).await?;
        let mut checked = json!({});
        if !warnings.is_empty() {
            checked["expressionWarnings"] = warnings.into();
        }
        let apply = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": key.name()},
            "status": {"observedGeneration": generation, "typeChecking": checked},
        });
        self.api
            .amend_status::<ValidatingAdmissionPolicy>(key, PatchType::Apply(NAME), &apply)
            .await?;
        Ok(Next::DONE)
    }
}

impl Controller {
    /// What is to be told of the expressions of a policy.
    async fn warnings(&self, spec: &ValidatingAdmissionPolicySpec) -> Result<Vec<Value>, Error> {
        let mut types = Types::new(&self.api);
        let mut kinds = Vec::new();
        for asked in types.named_by(spec).await? {
            if let Some(ty) = types.of(&asked).await? {
                kinds.push((asked, ty));
            }
        }
        let params = match &spec.param_kind {
            None => None,
            Some(kind) => {
                let asked = Asked::new(
                    kind.api_version.as_deref().unwrap_or(""),
                    kind.kind.as_deref().unwrap_or(""),
                );
                Some(types.of(&asked).await?.unwrap_or(Type::Dyn))
            }
        };
        Ok(warnings(spec, &kinds, params.as_ref()))
    }
}

/// What is wrong with the expressions of a policy about these kinds.
fn warnings(
    spec: &ValidatingAdmissionPolicySpec,
    kinds: &[(Asked, Type)],
    params: Option<&Type>,
) -> Vec<Value> {
    let compilers: Vec<(&Asked, Compiler)> = kinds
        .iter()
        .map(|(asked, ty)| (asked, compiler(spec, ty, params)))
        .collect();
    let mut warnings = Vec::new();
    for (at, validation) in spec.validations.iter().flatten().enumerate() {
        let expressions = [
            ("expression", Some(&validation.expression)),
            ("messageExpression", validation.message_expression.as_ref()),
        ];
        for (field, text) in expressions {
            let Some(text) = text.filter(|text| !text.is_empty()) else {
                continue;
            };
            let told: Vec<String> = compilers
                .iter()
                .filter_map(
                    |(asked, compiler)| match compiler.compile(text, Gives::Anything) {
                        Err(Fault::Invalid(issues)) => Some(format!("{asked}: {issues}\n")),
                        _ => None,
                    },
                )
                .collect();
            if !told.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{at}].{field}"),
                    "warning": told.join("\n"),
                }));
            }
        }
    }
    warnings
}

/// What compiles the expressions of a policy about objects of this type.
fn compiler(spec: &ValidatingAdmissionPolicySpec, ty: &Type, params: Option<&Type>) -> Compiler {
    let compiler = Compiler::of(params.is_some(), ty.clone());
    let mut compiler = match params {
        Some(params) => compiler.with_params(params.clone()),
        None => compiler,
    }
    .with_variables();
    for variable in spec.variables.iter().flatten() {
        // what is wrong with a variable is told of those who ask for it
        drop(compiler.variable(&variable.name, &variable.expression));
    }
    compiler
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kinds_do_not_have_is_told() {
        let spec: ValidatingAdmissionPolicySpec = serde_json::from_value(json!({
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "object.spec.replicas < 5"},
                {"expression": "object.spec.nosuch < 5", "messageExpression": "object.spec.replicas"},
                {"expression": "variables.replicas == 'a'"},
            ],
        }))
        .expect("a spec");
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}});
        let ty = types::declared(&schema, "Deployment");
        let kinds = [(Asked::new("apps/v1", "Deployment"), ty)];
        assert_eq!(
            warnings(&spec, &kinds, None),
            [
                json!({"fieldRef": "spec.validations[1].expression", "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'nosuch'\n | object.spec.nosuch < 5\n | ...........^\n"}),
                json!({"fieldRef": "spec.validations[2].expression", "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:20: found no matching overload for '_==_' applied to '(int, string)'\n | variables.replicas == 'a'\n | ...................^\n"}),
            ]
        );
    }
}
