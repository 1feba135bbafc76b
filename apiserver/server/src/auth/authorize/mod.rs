//! May they? The authorizers by mode, asked one after another.
//!
//! Invariant: the first that allows or denies decides, and nobody is asked after it; when none does, the request is refused with the reasons of all. The group
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

use arc_swap::ArcSwap;
pub use forbidden::forbidden;
use futures::FutureExt;
use skiff_api::machinery::quote::go_quote as quote;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    Attributes, Authorizer, Decision, Objects, PolicyRule, RemoteAuthorizer, Rules, SYSTEM_MASTERS,
    User, Verdict, impersonated, text::quote_list,
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
    #[error("authorization-mode {} is not supported: choose from Node, RBAC, AlwaysAllow, AlwaysDeny, Webhook", quote(.0))]
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
            "ABAC" => Err(ModeError::Unsupported(text.to_owned())),
            _ => Err(ModeError::Unknown(text.to_owned())),
        }
    }
}

/// One that is asked.
#[derive(Clone)]
pub enum Step {
    Mode(Mode),
    Remote(Arc<dyn RemoteAuthorizer>),
}

#[derive(Clone)]
enum Asked {
    Local(Arc<dyn Authorizer>),
    Remote(Arc<dyn RemoteAuthorizer>),
}

/// The authorizers of a server. RBAC is there in any mode, for the escalation check; it is asked only when its mode is on.
#[derive(Clone)]
pub struct Authorizers {
    chain: Arc<ArcSwap<Vec<Asked>>>,
    pub rbac: Arc<rbac::Rbac>,
    objects: Arc<dyn Objects>,
    /// By which mode of impersonation who asks came to be somebody else last.
    pub impersonated: Arc<impersonated::Remembered>,
}

/// The modes of a list, none of them twice.
pub fn modes(names: &[impl AsRef<str>]) -> Result<Vec<Mode>, ModeError> {
    if names.is_empty() {
        return Err(ModeError::None);
    }
    let parsed = names
        .iter()
        .map(|name| name.as_ref().parse())
        .collect::<Result<Vec<Mode>, _>>()?;
    match parsed.iter().collect::<HashSet<_>>().len() == parsed.len() {
        true => Ok(parsed),
        false => Err(ModeError::twice(names)),
    }
}

impl ModeError {
    pub fn twice(names: &[impl AsRef<str>]) -> ModeError {
        ModeError::Twice(names.iter().map(|name| name.as_ref().to_owned()).collect())
    }
}

impl Authorizers {
    /// These, in the order of asking.
    pub fn new(steps: &[Step], objects: Arc<dyn Objects>) -> Authorizers {
        let authorizers = Authorizers {
            chain: Arc::default(),
            rbac: Arc::new(rbac::Rbac::new(objects.clone())),
            objects,
            impersonated: Arc::default(),
        };
        authorizers.replace(steps);
        authorizers
    }

    /// Others are asked from now on.
    pub fn replace(&self, steps: &[Step]) {
        let own: Arc<dyn Authorizer> = Arc::new(kubelet_client::KubeletClient::default());
        let mut chain = vec![Asked::Local(own)];
        chain.extend(steps.iter().map(|step| match step {
            Step::Remote(remote) => Asked::Remote(remote.clone()),
            Step::Mode(Mode::Node) => {
                Asked::Local(Arc::new(node::NodeAuthorizer::new(self.objects.clone())))
            }
            Step::Mode(Mode::Rbac) => Asked::Local(self.rbac.clone()),
            Step::Mode(Mode::AlwaysAllow) => Asked::Local(Arc::new(AlwaysAllow)),
            Step::Mode(Mode::AlwaysDeny) => Asked::Local(Arc::new(AlwaysDeny)),
        }));
        self.chain.store(Arc::new(chain));
    }

    /// The same as [`Authorizers::decide`], for who cannot wait as tasks do (expressions that ask). Its thread waits if somebody outside is asked.
    pub fn decide_here(&self, attributes: &Attributes) -> Verdict {
        let remote = |asked: &Asked| matches!(asked, Asked::Remote(_));
        let waits = self.chain.load().iter().any(remote);
        let decided = self.decide(attributes);
        match Handle::try_current() {
            _ if !waits => {
                if let Some(verdict) = decided.now_or_never() {
                    return verdict;
                }
            }
            Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
                return tokio::task::block_in_place(|| handle.block_on(decided));
            }
            _ => {}
        }
        Verdict {
            decision: Decision::NoOpinion(String::new()),
            errors: vec!["nobody outside can be asked from here".to_owned()],
        }
    }

    /// What the first says that has an opinion.
    pub async fn decide(&self, attributes: &Attributes) -> Verdict {
        if attributes.user.in_group(SYSTEM_MASTERS) {
            return Decision::Allow(String::new()).into();
        }
        let (mut reasons, mut errors) = (Vec::new(), Vec::new());
        let chain = self.chain.load_full();
        for asked in chain.iter() {
            let verdict = match asked {
                Asked::Local(authorizer) => authorizer.authorize(attributes).into(),
                Asked::Remote(authorizer) => authorizer.authorize(attributes).await,
            };
            match verdict.decision {
                Decision::NoOpinion(reason) => {
                    reasons.extend(Some(reason).filter(|reason| !reason.is_empty()));
                    errors.extend(verdict.errors);
                }
                _ => return verdict,
            }
        }
        Verdict {
            decision: Decision::NoOpinion(reasons.join("\n")),
            errors,
        }
    }

    /// What a user may do in a namespace, by all that can tell.
    pub fn rules(&self, user: &User, namespace: &str) -> Rules {
        let chain = self.chain.load();
        let each = chain.iter().map(|asked| match asked {
            Asked::Local(authorizer) => authorizer.rules(user, namespace),
            Asked::Remote(authorizer) => authorizer.rules(user, namespace),
        });
        each.fold(Rules::default(), |mut all, one| {
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
    use crate::auth::testing::{Fake, now, of_modes};

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
        let make = |modes: &[&str]| super::modes(modes).err().map(|e| e.to_string());
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
        assert_eq!(
            make(&["RBAC", "ABAC"]).unwrap(),
            "authorization-mode \"ABAC\" is not supported: choose from Node, RBAC, AlwaysAllow, AlwaysDeny, Webhook"
        );
    }

    #[test]
    fn the_first_opinion_counts() {
        let alice = || get_pods(User::new("alice", &["dev"]));
        let decide = |modes: &[&str], attributes: &Attributes| {
            now(of_modes(modes, Arc::new(Fake::default())).decide(attributes)).decision
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
