//! The cluster role aggregation controller: gives a ClusterRole with an aggregation rule the rules of those that it selects.
//!
//! Invariant: each rule once, in the order of the roles' names. Follows
//! pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;

use crate::prelude::*;

struct Controller {
    api: Api,
    roles: Informer<ClusterRole>,
}

/// `clusterrole-aggregation-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "ClusterRoleAggregator",
        Controller {
            api: context.api.clone(),
            roles: context.informer(),
        },
    );
    c.on(&c.roles, |c, _, queue| {
        wake(
            queue,
            c.roles
                .list()
                .into_iter()
                .filter(|role| role.aggregation_rule.is_some()),
        );
    });
    Ok(c.some_workers(1))
}

/// The rules of all roles that one of the selectors selects, but for the role itself.
fn aggregated(
    role: &ClusterRole,
    mut all: Vec<Arc<ClusterRole>>,
) -> Result<Vec<PolicyRule>, Error> {
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in role
        .aggregation_rule
        .iter()
        .flat_map(|r| r.cluster_role_selectors.iter().flatten())
    {
        let selector = selector::of(Some(selector))?;
        let fits = |other: &&Arc<ClusterRole>| {
            other.metadata.name != role.metadata.name
                && selector.matches(&other.metadata.labels.as_ref())
        };
        for rule in all
            .iter()
            .filter(fits)
            .flat_map(|other| other.rules.iter().flatten())
        {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(rules)
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "clusterrole-aggregation-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(role) = self
            .roles
            .get(key)
            .filter(|role| role.aggregation_rule.is_some())
        else {
            return Ok(Next::DONE);
        };
        let rules = aggregated(&role, self.roles.list())?;
        if rules == role.rules.clone().unwrap_or_default() {
            return Ok(Next::DONE);
        }
        let apply = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": key.name()}, "rules": rules});
        self.api
            .amend::<ClusterRole>(
                key,
                PatchType::Apply("clusterrole-aggregation-controller"),
                &apply,
            )
            .await?;
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{
        api::rbac::v1::AggregationRule, apimachinery::pkg::apis::meta::v1::LabelSelector,
    };

    #[test]
    fn each_rule_once_in_the_order_of_names() {
        let role = |name: &str, verbs: &[&str]| {
            let rules = verbs
                .iter()
                .map(|v| PolicyRule {
                    verbs: vec![v.to_string()],
                    ..Default::default()
                })
                .collect();
            let mut role = ClusterRole {
                rules: Some(rules),
                ..Default::default()
            };
            role.metadata.name = Some(name.into());
            role.metadata.labels = Some([("sum".to_string(), "yes".to_string())].into());
            Arc::new(role)
        };
        let selector = LabelSelector {
            match_labels: Some([("sum".to_string(), "yes".to_string())].into()),
            ..Default::default()
        };
        let mut sum = (*role("sum", &["own"])).clone();
        sum.aggregation_rule = Some(AggregationRule {
            cluster_role_selectors: Some(vec![selector]),
        });
        let rules = aggregated(
            &sum,
            vec![
                role("b", &["get", "list"]),
                role("a", &["get"]),
                Arc::new(sum.clone()),
            ],
        )
        .unwrap();
        assert_eq!(
            rules
                .iter()
                .map(|r| r.verbs[0].as_str())
                .collect::<Vec<_>>(),
            ["get", "list"]
        );
    }
}
