//! May they? The authorizers by mode, asked one after another.
//!
//! Invariant: the first that allows or denies decides; when none does, the request is refused with the reasons of all. The group
//! `system:masters` is allowed everything, before any mode is asked; the server's own identity towards nodes is allowed their API in any mode.
//! Follows `pkg/kubeapiserver/authorizer` and `staging/src/k8s.io/apiserver/pkg/authorization/union`.

pub mod bootstrap;
pub mod escalation;
mod forbidden;
mod kubelet_client;
pub mod node;
mod node_pods;
pub mod rbac;
pub mod reviews;
pub mod rule;

use std::{collections::HashSet, str::FromStr, sync::Arc};

pub use forbidden::forbidden;
use skiff_api::machinery::field::go_quoted as quote;

use super::{
    Attributes, Authorizer, Decision, Objects, PolicyRule, Rules, SYSTEM_MASTERS, User,
    text::quote_list,
};

/// One item of `--authorization-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Node,
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
}

#[derive(thiserror::Error, Debug, PartialEq)]
pub enum ModeError {
    #[error("at least one authorization-mode must be passed")]
    None,
    #[error("authorization-mode {} is not a valid mode", quote(.0))]
    Unknown(String),
    #[error("authorization-mode {} is not supported: choose from Node, RBAC, AlwaysAllow, AlwaysDeny", quote(.0))]
    Unsupported(String),
    #[error("authorization-mode {} has mode specified more than once", quote_list(.0))]
    Twice(Vec<String>),
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Mode, ModeError> {
        match text {
            "Node" => Ok(Mode::Node),
            "RBAC" => Ok(Mode::Rbac),
            "AlwaysAllow" => Ok(Mode::AlwaysAllow),
            "AlwaysDeny" => Ok(Mode::AlwaysDeny),
            "Webhook" | "ABAC" => Err(ModeError::Unsupported(text.to_owned())),
            _ => Err(ModeError::Unknown(text.to_owned())),
        }
    }
}

/// The authorizers of a server. RBAC is there in any mode, for the escalation check; it is asked only when its mode is on.
#[derive(Clone)]
pub struct Authorizers {
    chain: Vec<Arc<dyn Authorizer>>,
    pub rbac: Arc<rbac::Rbac>,
}

impl Authorizers {
    /// `modes` as given with `--authorization-mode`, in the order of asking.
    pub fn new(
        modes: &[impl AsRef<str>],
        objects: Arc<dyn Objects>,
    ) -> Result<Authorizers, ModeError> {
        if modes.is_empty() {
            return Err(ModeError::None);
        }
        let parsed = modes
            .iter()
            .map(|mode| mode.as_ref().parse())
            .collect::<Result<Vec<Mode>, _>>()?;
        if parsed.iter().collect::<HashSet<_>>().len() != parsed.len() {
            return Err(ModeError::Twice(
                modes.iter().map(|mode| mode.as_ref().to_owned()).collect(),
            ));
        }
        let rbac = Arc::new(rbac::Rbac::new(objects.clone()));
        let chain: Vec<Arc<dyn Authorizer>> = parsed
            .into_iter()
            .map(|mode| -> Arc<dyn Authorizer> {
                match mode {
                    Mode::Node => Arc::new(node::NodeAuthorizer::new(objects.clone())),
                    Mode::Rbac => rbac.clone(),
                    Mode::AlwaysAllow => Arc::new(AlwaysAllow),
                    Mode::AlwaysDeny => Arc::new(AlwaysDeny),
                }
            })
            .collect();
        let own: Arc<dyn Authorizer> = Arc::new(kubelet_client::KubeletClient::default());
        Ok(Authorizers {
            chain: [vec![own], chain].concat(),
            rbac,
        })
    }
}

impl Authorizer for Authorizers {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group(SYSTEM_MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for authorizer in &self.chain {
            match authorizer.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        self.chain
            .iter()
            .map(|authorizer| authorizer.rules(user, namespace))
            .fold(Rules::default(), |mut all, one| {
                all.resource.extend(one.resource);
                all.non_resource.extend(one.non_resource);
                all.errors.extend(one.errors);
                all.incomplete |= one.incomplete;
                all
            })
    }
}

struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn authorize(&self, _: &Attributes) -> Decision {
        Decision::Allow(String::new())
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        let all = || vec!["*".to_owned()];
        Rules {
            resource: vec![PolicyRule {
                verbs: all(),
                api_groups: all(),
                resources: all(),
                ..PolicyRule::default()
            }],
            non_resource: vec![PolicyRule {
                verbs: all(),
                non_resource_urls: all(),
                ..PolicyRule::default()
            }],
            ..Rules::default()
        }
    }
}

struct AlwaysDeny;

impl Authorizer for AlwaysDeny {
    fn authorize(&self, _: &Attributes) -> Decision {
        Decision::NoOpinion("Everything is forbidden.".to_owned())
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        Rules::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Fake;

    fn get_pods(user: User) -> Attributes {
        Attributes {
            user: Arc::new(user),
            verb: "get".into(),
            resource_request: true,
            resource: "pods".into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn modes_are_checked_by_name() {
        let make = |modes: &[&str]| {
            Authorizers::new(modes, Arc::new(Fake::default()))
                .err()
                .map(|e| e.to_string())
        };
        assert_eq!(make(&["Node", "RBAC"]), None);
        assert_eq!(
            make(&[]).unwrap(),
            "at least one authorization-mode must be passed"
        );
        assert_eq!(
            make(&["rbac"]).unwrap(),
            r#"authorization-mode "rbac" is not a valid mode"#
        );
        assert_eq!(
            make(&["RBAC", "RBAC"]).unwrap(),
            r#"authorization-mode ["RBAC" "RBAC"] has mode specified more than once"#
        );
        for mode in ["Webhook", "ABAC"] {
            assert_eq!(
                make(&["RBAC", mode]).unwrap(),
                format!(
                    "authorization-mode \"{mode}\" is not supported: choose from Node, RBAC, AlwaysAllow, AlwaysDeny"
                )
            );
        }
    }

    #[test]
    fn the_first_opinion_counts() {
        let alice = || get_pods(User::new("alice", &["dev"]));
        let decide = |modes: &[&str], attributes: &Attributes| {
            Authorizers::new(modes, Arc::new(Fake::default()))
                .unwrap()
                .authorize(attributes)
        };
        assert_eq!(
            decide(&["AlwaysDeny", "AlwaysAllow"], &alice()),
            Decision::Allow(String::new())
        );
        assert_eq!(
            decide(&["AlwaysDeny"], &alice()),
            Decision::NoOpinion("Everything is forbidden.".into())
        );
        assert_eq!(
            decide(&["RBAC", "AlwaysDeny"], &alice()),
            Decision::NoOpinion("Everything is forbidden.".into())
        );
        assert_eq!(
            decide(&["Node", "RBAC"], &alice()),
            Decision::NoOpinion(String::new())
        );
        assert_eq!(
            decide(
                &["AlwaysDeny"],
                &get_pods(User::new("root", &["system:masters"]))
            ),
            Decision::Allow(String::new())
        );
        let two = decide(
            &["AlwaysDeny", "Node"],
            &get_pods(User::new("system:node:", &["system:nodes"])),
        );
        assert_eq!(
            two,
            Decision::NoOpinion(
                "Everything is forbidden.\nunknown node for user \"system:node:\"".into()
            )
        );
    }
}
