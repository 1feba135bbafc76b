//! The modes of acting as somebody else: which users each is for, and the rights that it asks for.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation/{mode,constrained_impersonation}.go`.

use std::{collections::BTreeMap, sync::Arc};

use skiff_api::machinery::{
    names::{is_dns1123_label, is_dns1123_subdomain, is_domain_prefixed_path},
    quote::go_quote,
    status::Status,
};

use crate::auth::{
    ALL_AUTHENTICATED, ALL_SERVICE_ACCOUNTS, ALL_UNAUTHENTICATED, ANONYMOUS, Attributes,
    NODE_USER_PREFIX, NODES_GROUP, SERVICE_ACCOUNT_GROUP_PREFIX, SYSTEM_MASTERS, User,
    authorize::{Authorizers, forbidden},
    impersonated::Mode,
    split_service_account, text,
};

pub const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// From so many groups or extra values on, the right to all of them is asked for first.
const MANY: usize = 4;

pub const MODES: [Mode; 5] = [
    Mode::AssociatedNode,
    Mode::ArbitraryNode,
    Mode::ServiceAccount,
    Mode::UserInfo,
    Mode::Legacy,
];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "",
        }
    }

    fn constrained(self) -> bool {
        self != Mode::Legacy
    }

    fn verb(self) -> String {
        if self.constrained() {
            format!("impersonate:{}", self.name())
        } else {
            "impersonate".to_owned()
        }
    }

    pub fn applies(self, wanted: &User, requestor: &User) -> bool {
        let name_alone =
            wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node_name(&wanted.name), account(&wanted.name));
        match self {
            Mode::AssociatedNode => name_alone && node.is_some_and(|node| runs_on(requestor, node)),
            Mode::ArbitraryNode => name_alone && node.is_some(),
            Mode::ServiceAccount => name_alone && account.is_some(),
            Mode::UserInfo => node.is_none() && account.is_none(),
            Mode::Legacy => true,
        }
    }

    pub async fn check(
        self,
        wanted: &User,
        attributes: &Attributes,
        authorizers: &Authorizers,
    ) -> Result<User, Status> {
        let requestor = self.requestor(&attributes.user);
        if self.constrained() {
            let verb = format!("impersonate-on:{}:{}", self.name(), attributes.verb);
            let asked = Attributes {
                user: requestor.clone(),
                verb,
                ..attributes.clone()
            };
            ask(authorizers, &asked).await?;
        }
        let mut user = wanted.clone();
        self.check_name(&requestor, wanted, &mut user, authorizers)
            .await?;
        if !wanted.uid.is_empty() {
            let right = self.right(&requestor, "authentication.k8s.io", "uids", &wanted.uid);
            ask(authorizers, &right).await?;
        }
        self.check_groups(&requestor, &wanted.groups, authorizers)
            .await?;
        self.check_extra(&requestor, &wanted.extra, authorizers)
            .await?;
        let add = if user.name == ANONYMOUS {
            ALL_UNAUTHENTICATED
        } else {
            ALL_AUTHENTICATED
        };
        // Whoever wants to be unauthenticated stays it.
        let said = user.in_group(add) || user.in_group(ALL_UNAUTHENTICATED);
        if !said {
            user.groups.push(add.to_owned());
        }
        Ok(user)
    }

    /// Authorizers see of a service account's extra only which keys there are: what is decided holds for all pods of its node alike.
    fn requestor(self, user: &Arc<User>) -> Arc<User> {
        if self != Mode::AssociatedNode {
            return user.clone();
        }
        let keys = user.extra.keys().cloned().collect();
        let extra = BTreeMap::from([(
            "authentication.kubernetes.io/associated-node-keys".to_owned(),
            keys,
        )]);
        Arc::new(User {
            extra,
            ..User::clone(user)
        })
    }

    /// The group of the API in which users and groups are.
    fn group(self) -> &'static str {
        if self.constrained() {
            "authentication.k8s.io"
        } else {
            ""
        }
    }

    fn right(self, requestor: &Arc<User>, group: &str, resource: &str, name: &str) -> Attributes {
        Attributes {
            user: requestor.clone(),
            verb: self.verb(),
            resource_request: true,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    async fn check_name(
        self,
        requestor: &Arc<User>,
        wanted: &User,
        user: &mut User,
        authorizers: &Authorizers,
    ) -> Result<(), Status> {
        let mut right = self.right(requestor, self.group(), "users", &wanted.name);
        if let Some(node) = node_name(&wanted.name).filter(|_| self.constrained()) {
            right.resource = "nodes".to_owned();
            right.name = if self == Mode::AssociatedNode {
                "*".to_owned()
            } else {
                node.to_owned()
            };
            user.groups = vec![NODES_GROUP.to_owned()];
        }
        if let Some((namespace, name)) = account(&wanted.name) {
            right.resource = "serviceaccounts".to_owned();
            right.namespace = namespace.to_owned();
            right.name = name.to_owned();
            if wanted.groups.is_empty() {
                user.groups = vec![
                    ALL_SERVICE_ACCOUNTS.to_owned(),
                    format!("{SERVICE_ACCOUNT_GROUP_PREFIX}{namespace}"),
                ];
            }
        }
        ask(authorizers, &right).await
    }

    async fn check_groups(
        self,
        requestor: &Arc<User>,
        groups: &[String],
        authorizers: &Authorizers,
    ) -> Result<(), Status> {
        let right = |name: &str| self.right(requestor, self.group(), "groups", name);
        if self.constrained() {
            if groups.iter().any(String::is_empty) {
                return Err(forbidden(
                    &right(""),
                    "impersonating the empty string group is not allowed",
                ));
            }
            if groups.iter().any(|group| group == SYSTEM_MASTERS) {
                return Err(forbidden(
                    &right(SYSTEM_MASTERS),
                    "impersonating the system:masters group is not allowed",
                ));
            }
            if groups.len() >= MANY && ask(authorizers, &right("*")).await.is_ok() {
                return Ok(());
            }
        }
        for group in groups {
            ask(authorizers, &right(group)).await?;
        }
        Ok(())
    }

    async fn check_extra(
        self,
        requestor: &Arc<User>,
        extra: &BTreeMap<String, Vec<String>>,
        authorizers: &Authorizers,
    ) -> Result<(), Status> {
        let right = |key: &str, value: &str| Attributes {
            subresource: key.to_owned(),
            ..self.right(requestor, "authentication.k8s.io", "userextras", value)
        };
        if self.constrained() && !extra.is_empty() {
            validate_extra(extra).map_err(|why| forbidden(&right("", ""), &why))?;
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && ask(authorizers, &right("*", "*")).await.is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                ask(authorizers, &right(key, value)).await?;
            }
        }
        Ok(())
    }
}

fn validate_extra(extra: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for (key, values) in extra {
        if key.is_empty() {
            return Err("impersonating the empty string key in extra is not allowed".to_owned());
        }
        let faults: Vec<String> = is_domain_prefixed_path(key)
            .into_iter()
            .map(|(detail, value)| {
                format!("extra.key: Invalid value: {}: {detail}", go_quote(&value))
            })
            .collect();
        if let Some(faults) = text::aggregate(&faults) {
            return Err(format!(
                "impersonating an invalid key in extra is not allowed: {faults}"
            ));
        }
        if *key != key.to_lowercase() {
            return Err(format!(
                "impersonating a non-lowercase key in extra is not allowed: {}",
                go_quote(key)
            ));
        }
        if values.iter().any(String::is_empty) {
            return Err("impersonating the empty string value in extra is not allowed".to_owned());
        }
    }
    Ok(())
}

async fn ask(authorizers: &Authorizers, attributes: &Attributes) -> Result<(), Status> {
    let verdict = authorizers.decide(attributes).await;
    if verdict.allowed() {
        Ok(())
    } else {
        Err(forbidden(attributes, verdict.reason()))
    }
}

fn node_name(username: &str) -> Option<&str> {
    username
        .strip_prefix(NODE_USER_PREFIX)
        .filter(|name| is_dns1123_subdomain(name).is_empty())
}

fn account(username: &str) -> Option<(&str, &str)> {
    split_service_account(username).filter(|(namespace, name)| {
        is_dns1123_label(namespace).is_empty() && is_dns1123_subdomain(name).is_empty()
    })
}

fn runs_on(requestor: &User, node: &str) -> bool {
    account(&requestor.name).is_some()
        && requestor
            .extra
            .get(NODE_NAME)
            .is_some_and(|values| values.as_slice() == [node])
}
