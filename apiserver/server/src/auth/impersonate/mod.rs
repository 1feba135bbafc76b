//! Acting as somebody else: the `Impersonate-*` headers, and who may use them.
//!
//! Invariant: nobody becomes anybody unless each thing that makes the wanted user (name, uid, groups, extra) was authorized, by one mode whole.
//! The mode that let somebody last is tried first, then all in order; the answer to a refusal is that of the first mode that was tried.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation`.

mod modes;

use std::collections::BTreeMap;

use http::HeaderMap;
use skiff_api::machinery::{quote::go_quote, status::Status};

use super::{Attributes, User, authorize::Authorizers, front::unescape};
use modes::MODES;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue};

    use super::{modes::NODE_NAME, *};
    use crate::auth::{
        SYSTEM_MASTERS,
        testing::{Fake, now, of_modes},
    };

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
