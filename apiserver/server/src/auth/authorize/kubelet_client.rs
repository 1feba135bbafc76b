//! What the server's own identity towards nodes may do: a node asks the server whether whoever asks it may, and the answer must not hang on a
//! binding that nobody has made yet.
//!
//! Invariant: it may do what the default cluster role `system:kubelet-api-admin` says, and nothing else: its certificate goes to whatever address
//! a node says that it has. Upstream leaves the binding to who sets the cluster up (kubeadm binds it to `cluster-admin`).

use super::{bootstrap, rule};
use crate::auth::{Attributes, Authorizer, Decision, KUBELET_CLIENT, PolicyRule, Rules, User};

pub struct KubeletClient(Vec<PolicyRule>);

impl Default for KubeletClient {
    fn default() -> KubeletClient {
        KubeletClient(bootstrap::rules_of("system:kubelet-api-admin"))
    }
}

impl Authorizer for KubeletClient {
    fn authorize(&self, asked: &Attributes) -> Decision {
        match asked.user.name == KUBELET_CLIENT
            && self.0.iter().any(|rule| rule::allows(rule, asked))
        {
            true => Decision::Allow(String::new()),
            false => Decision::NoOpinion(String::new()),
        }
    }

    fn rules(&self, user: &User, _: &str) -> Rules {
        match user.name == KUBELET_CLIENT {
            true => Rules {
                resource: self.0.clone(),
                ..Rules::default()
            },
            false => Rules::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn nodes_and_nothing_else() {
        let allowed = |user: &str, verb: &str, resource: &str, subresource: &str| {
            let asked = Attributes {
                user: Arc::new(User::new(user, &["system:authenticated"])),
                verb: verb.into(),
                resource_request: true,
                resource: resource.into(),
                subresource: subresource.into(),
                name: "n".into(),
                ..Attributes::default()
            };
            KubeletClient::default().authorize(&asked).allowed()
        };
        for (verb, subresource) in [
            ("create", "proxy"),
            ("get", "proxy"),
            ("get", "stats"),
            ("get", "log"),
            ("get", "pods"),
        ] {
            assert!(
                allowed(KUBELET_CLIENT, verb, "nodes", subresource),
                "{verb} {subresource}"
            );
            assert!(
                !allowed("somebody", verb, "nodes", subresource),
                "{verb} {subresource}"
            );
        }
        for (verb, resource, subresource) in [
            ("list", "secrets", ""),
            ("delete", "nodes", ""),
            ("create", "pods", "exec"),
            ("update", "nodes", "status"),
        ] {
            assert!(
                !allowed(KUBELET_CLIENT, verb, resource, subresource),
                "{verb} {resource} {subresource}"
            );
        }
    }
}
