//! Acting as somebody else: the `Impersonate-*` headers, and who may use them.
//!
//! Invariant: nobody becomes anybody unless each thing that makes the wanted user (name, uid, groups, extra) was authorized, by one mode whole.
//! The mode that let somebody last is tried first, then all in order; the answer to a refusal is that of the first mode that was tried.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation`.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::{
    names::{is_dns1123_label, is_dns1123_subdomain, is_domain_prefixed_path},
    status::Status,
};

use super::{
    ALL_AUTHENTICATED, ALL_SERVICE_ACCOUNTS, ALL_UNAUTHENTICATED, ANONYMOUS, Attributes,
    NODE_USER_PREFIX, NODES_GROUP, SERVICE_ACCOUNT_GROUP_PREFIX, SYSTEM_MASTERS, User,
    authorize::{Authorizers, forbidden},
    front::unescape,
    impersonated::Mode,
    split_service_account,
};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// From so many groups or extra values on, the right to all of them is asked for first.
const MANY: usize = 4;

/// The user that a request with these headers acts as; `None` when it acts as who sends it. `attributes` are those of the request, its user the one
/// that sends it: some rights to impersonate hold for some requests alone. The error is the answer.
pub async fn impersonate(
    headers: &HeaderMap,
    attributes: &Attributes,
    authorizers: &Authorizers,
) -> Result<Option<User>, Status> {
    let wanted = wanted_user(headers);
    if wanted.name.is_empty() {
        if wanted == User::default() && !headers.contains_key(GROUP) && !has_extra(headers) {
            return Ok(None);
        }
        return Err(Status::bad_request(format!(
            "requested {} without impersonating a user name",
            describe(&wanted)
        )));
    }
    let mut first = None;
    let last = authorizers.impersonated.of(&attributes.user.name);
    let others = MODES.into_iter().filter(|mode| Some(*mode) != last);
    for mode in last
        .into_iter()
        .chain(others)
        .filter(|mode| mode.applies(&wanted, &attributes.user))
    {
        match mode.check(&wanted, attributes, authorizers).await {
            Ok(user) => {
                if last != Some(mode) {
                    authorizers.impersonated.note(&attributes.user.name, mode);
                }
                return Ok(Some(user));
            }
            Err(status) => drop(first.get_or_insert(status)),
        }
    }
    // The last mode applies to everything.
    Err(first.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
}

/// Removes the headers, so that nothing behind sees them (a proxied kubelet, for one).
pub fn strip(headers: &mut HeaderMap) {
    let names: Vec<_> = headers
        .keys()
        .filter(|name| {
            [USER, UID, GROUP].contains(&name.as_str()) || name.as_str().starts_with(EXTRA)
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn has_extra(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(EXTRA))
}

/// Whether a header is about acting as somebody else.
pub fn is_header(name: &http::HeaderName) -> bool {
    name.as_str().starts_with("impersonate-")
}

fn wanted_user(headers: &HeaderMap) -> User {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let one = |name| headers.get(name).map(text).unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.entry(unescape(key)).or_default().push(text(value));
        }
    }
    User {
        name: one(USER),
        uid: one(UID),
        groups: headers.get_all(GROUP).into_iter().map(text).collect(),
        extra,
    }
}

/// The words in which upstream shows a user that lacks a name.
fn describe(user: &User) -> String {
    let list = |items: &[String]| {
        format!(
            "[]string{{{}}}",
            items
                .iter()
                .map(|item| go_quote(item))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    let groups = if user.groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        list(&user.groups)
    };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let entries: Vec<String> = user
                .extra
                .iter()
                .map(|(key, values)| format!("{}:{}", go_quote(key), list(values)))
                .collect();
            format!("map[string][]string{{{}}}", entries.join(", "))
        }
    };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{groups}, Extra:{extra}}}",
        go_quote(&user.name),
        go_quote(&user.uid)
    )
}

const MODES: [Mode; 5] = [
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

    fn applies(self, wanted: &User, requestor: &User) -> bool {
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

    async fn check(
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
        if let Some(faults) = super::text::aggregate(&faults) {
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::auth::testing::{Fake, now, of_modes};

    fn authorizers() -> Authorizers {
        let fake = Fake::default()
            .cluster_role("legacy", &["impersonate | core | users groups serviceaccounts", "impersonate | authentication.k8s.io | uids userextras/scopes"])
            .cluster_bind("legacy", "legacy", &["User boss"])
            .cluster_role("one", &["impersonate | core | users | bob", "impersonate | core | groups | dev"])
            .cluster_bind("one", "one", &["User clerk"])
            .cluster_role(
                "users",
                &["impersonate:user-info | authentication.k8s.io | users groups userextras/scopes", "impersonate-on:user-info:list | core | pods"],
            )
            .cluster_bind("users", "users", &["User lister"])
            .cluster_role("node", &["impersonate:associated-node | authentication.k8s.io | nodes", "impersonate-on:associated-node:list | core | pods"])
            .cluster_bind("node", "node", &["ServiceAccount kube-system/agent"])
            .cluster_role(
                "accounts",
                &["impersonate:serviceaccount | authentication.k8s.io | serviceaccounts", "impersonate-on:serviceaccount:get | core | pods"],
            )
            .bind("a", "accounts", "ClusterRole", "accounts", &["User deputy"]);
        of_modes(&["RBAC"], Arc::new(fake))
    }

    fn request(user: User, verb: &str) -> Attributes {
        Attributes {
            user: Arc::new(user),
            verb: verb.into(),
            resource_request: true,
            resource: "pods".into(),
            namespace: "a".into(),
            ..Attributes::default()
        }
    }

    fn attempt_as(
        user: User,
        verb: &str,
        headers: &[(&str, &str)],
    ) -> Result<Option<User>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(format!("Impersonate-{name}").as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let (request, authorizers) = (request(user, verb), authorizers());
        now(impersonate(&map, &request, &authorizers)).map_err(|status| status.message)
    }

    fn attempt(user: &str, verb: &str, headers: &[(&str, &str)]) -> Result<Option<User>, String> {
        attempt_as(User::new(user, &[]), verb, headers)
    }

    #[test]
    fn headers_make_the_user() {
        let user = |headers: &[(&str, &str)]| {
            attempt_as(User::new("root", &[SYSTEM_MASTERS]), "get", headers)
                .unwrap()
                .unwrap()
        };
        assert_eq!(attempt("anybody", "get", &[]), Ok(None));
        assert_eq!(
            user(&[("User", "alice")]),
            User::new("alice", &["system:authenticated"])
        );
        assert_eq!(
            user(&[("User", "x"), ("Group", "g1"), ("Group", "g2")]).groups,
            ["g1", "g2", "system:authenticated"]
        );
        assert_eq!(user(&[("User", "x"), ("Uid", "77")]).uid, "77");
        assert_eq!(
            user(&[("User", "system:anonymous")]).groups,
            ["system:unauthenticated"]
        );
        assert_eq!(
            user(&[("User", "x"), ("Group", "system:unauthenticated")]).groups,
            ["system:unauthenticated"]
        );
        assert_eq!(
            user(&[("User", "system:serviceaccount:a:default")]).groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                "system:authenticated"
            ]
        );
        assert_eq!(
            user(&[("User", "system:serviceaccount:a:default"), ("Group", "g")]).groups,
            ["g", "system:authenticated"]
        );
        let extra = user(&[
            ("User", "x"),
            ("Extra-Scopes", "a"),
            ("Extra-scopes", "b"),
            ("Extra-Acme.com%2fProject", "p"),
            ("Extra-bad%zz", "q"),
        ])
        .extra;
        assert_eq!(extra["scopes"], ["a", "b"]);
        assert_eq!(extra["acme.com/project"], ["p"]);
        assert_eq!(extra["bad%zz"], ["q"]);
    }

    #[test]
    fn a_name_is_needed() {
        let text = |headers: &[(&str, &str)]| attempt("root", "get", headers).unwrap_err();
        assert_eq!(
            text(&[("Group", "g")]),
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, Extra:map[string][]string(nil)} without impersonating a user name"
        );
        assert_eq!(
            text(&[("Uid", "7"), ("Extra-a", "b")]),
            "requested &user.DefaultInfo{Name:\"\", UID:\"7\", Groups:[]string(nil), Extra:map[string][]string{\"a\":[]string{\"b\"}}} without impersonating a user name"
        );
    }

    #[test]
    fn each_part_must_be_allowed() {
        let refused = |user: &str, verb: &str, headers: &[(&str, &str)]| {
            attempt(user, verb, headers).unwrap_err()
        };
        // the answer is that of the first mode that applies
        let on_list = "pods is forbidden: User \"alice\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the namespace \"a\"";
        assert_eq!(refused("alice", "list", &[("User", "bob")]), on_list);
        assert!(
            attempt(
                "boss",
                "list",
                &[
                    ("User", "bob"),
                    ("Group", "ops"),
                    ("Uid", "1"),
                    ("Extra-Scopes", "x")
                ]
            )
            .is_ok()
        );
        assert!(attempt("boss", "list", &[("User", "bob"), ("Extra-Other", "x")]).is_err());
        assert!(attempt("boss", "list", &[("User", "system:serviceaccount:a:x")]).is_ok());
        assert!(attempt("clerk", "list", &[("User", "bob")]).is_ok());
        assert!(attempt("clerk", "list", &[("User", "bob"), ("Group", "dev")]).is_ok());
        assert!(
            attempt(
                "clerk",
                "list",
                &[("User", "bob"), ("Group", "dev"), ("Group", "ops")]
            )
            .is_err()
        );
        assert!(attempt("clerk", "list", &[("User", "ann")]).is_err());
        assert!(attempt("clerk", "list", &[("User", "bob"), ("Uid", "1")]).is_err());
    }

    #[test]
    fn the_mode_that_let_somebody_last_is_asked_first() {
        let authorizers = authorizers();
        let as_user = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("Impersonate-User", HeaderValue::from_static(name));
            let request = request(User::new("clerk", &[]), "list");
            now(impersonate(&headers, &request, &authorizers)).map_err(|status| status.message)
        };
        let first = as_user("ann").unwrap_err();
        assert!(
            first.contains("cannot impersonate-on:user-info:list"),
            "{first}"
        );
        assert!(as_user("bob").is_ok());
        let then = as_user("ann").unwrap_err();
        assert!(
            then.contains("cannot impersonate resource \"users\""),
            "{then}"
        );
    }

    #[test]
    fn constrained_modes_hold_for_some_requests() {
        assert!(attempt("lister", "list", &[("User", "bob"), ("Group", "dev")]).is_ok());
        assert!(attempt("lister", "get", &[("User", "bob")]).is_err());
        assert!(attempt("lister", "list", &[("User", "system:serviceaccount:a:x")]).is_err());
        assert!(attempt("lister", "list", &[("User", "system:node:n1")]).is_err());
        let text = attempt(
            "lister",
            "list",
            &[("User", "bob"), ("Group", SYSTEM_MASTERS)],
        )
        .unwrap_err();
        assert!(
            text.ends_with(": impersonating the system:masters group is not allowed"),
            "{text}"
        );
        assert!(attempt("deputy", "get", &[("User", "system:serviceaccount:a:x")]).is_ok());
        assert!(attempt("deputy", "get", &[("User", "system:serviceaccount:b:x")]).is_err());
    }

    #[test]
    fn an_agent_acts_as_its_own_node() {
        let agent = |node: &str| User {
            extra: BTreeMap::from([(NODE_NAME.to_owned(), vec![node.to_owned()])]),
            ..User::new("system:serviceaccount:kube-system:agent", &[])
        };
        let node = attempt_as(agent("n1"), "list", &[("User", "system:node:n1")])
            .unwrap()
            .unwrap();
        assert_eq!(
            node,
            User::new("system:node:n1", &["system:nodes", "system:authenticated"])
        );
        assert!(attempt_as(agent("n1"), "get", &[("User", "system:node:n1")]).is_err());
        assert!(attempt_as(agent("n2"), "list", &[("User", "system:node:n1")]).is_err());
        assert!(
            attempt_as(
                agent("n1"),
                "list",
                &[("User", "system:node:n1"), ("Group", "x")]
            )
            .is_err()
        );
    }
}
