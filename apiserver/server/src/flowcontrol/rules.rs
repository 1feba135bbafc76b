//! The rules of FlowSchemas as requests are held against them.
//!
//! Invariant: `*` in a list means all only where it stands alone. Follows `pkg/util/flowcontrol/rule.go` of `k8s.io/apiserver`.

use serde_json::Value;
use skiff_api::machinery::read::Read;

use crate::{
    auth::{SERVICE_ACCOUNT_PREFIX, User},
    request::RequestInfo,
};

/// What tells the flows of a schema from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// They are one.
    Nothing,
    User,
    Namespace,
}

impl By {
    pub fn of<'a>(self, user: &'a User, info: &'a RequestInfo) -> &'a str {
        match self {
            By::Nothing => "",
            By::User => &user.name,
            By::Namespace => &info.namespace,
        }
    }
}

/// Some of the words that a request is told by.
#[derive(Debug, PartialEq)]
enum Words {
    All,
    These(Vec<Box<str>>),
}

/// Some subjects, and what they ask for.
#[derive(Debug)]
pub struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Debug)]
enum Subject {
    Everybody,
    User(Box<str>),
    Group(Box<str>),
    /// All service accounts of a namespace: `system:serviceaccount:NAMESPACE:`.
    Accounts(Box<str>),
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Words,
    groups: Words,
    resources: Words,
    namespaces: Words,
    cluster: bool,
}

#[derive(Debug)]
struct PathRule {
    verbs: Words,
    all: bool,
    /// The path, and what those below it begin with.
    paths: Vec<(Box<str>, Box<str>)>,
}

impl Words {
    fn of<'v>(words: impl Iterator<Item = &'v str>) -> Words {
        let words: Vec<Box<str>> = words.map(Into::into).collect();
        match &words[..] {
            [one] if &**one == "*" => Words::All,
            _ => Words::These(words),
        }
    }

    fn has(&self, word: &str) -> bool {
        self.any(|have| have == word)
    }

    fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        match self {
            Words::All => true,
            Words::These(words) => words.iter().any(|word| fits(word)),
        }
    }
}

impl Subject {
    fn of(subject: &Value) -> Option<Subject> {
        let name = |of: &str| subject.some(of).map(|of| of.text("name"));
        let subject = match subject.text("kind") {
            "User" => match name("user")? {
                "*" => Subject::Everybody,
                name => Subject::User(name.into()),
            },
            "Group" => match name("group")? {
                "*" => Subject::Everybody,
                name => Subject::Group(name.into()),
            },
            "ServiceAccount" => {
                let namespace = subject.some("serviceAccount")?.text("namespace");
                let all = format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:");
                match name("serviceAccount")? {
                    "*" => Subject::Accounts(all.into()),
                    name => Subject::User((all + name).into()),
                }
            }
            _ => return None,
        };
        Some(subject)
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Subject::Everybody => true,
            Subject::User(name) => **name == user.name,
            Subject::Group(name) => user.in_group(name),
            Subject::Accounts(prefix) => user.name.starts_with(&**prefix),
        }
    }
}

impl ResourceRule {
    fn of(rule: &Value) -> ResourceRule {
        ResourceRule {
            verbs: Words::of(rule.texts("verbs")),
            groups: Words::of(rule.texts("apiGroups")),
            resources: Words::of(rule.texts("resources")),
            namespaces: Words::of(rule.texts("namespaces")),
            cluster: rule.flag("clusterScope"),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let is_it = |have: &str| match info.subresource.as_str() {
            "" => have == info.resource,
            sub => have
                .strip_prefix(&*info.resource)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|have| have == sub),
        };
        self.verbs.has(&info.verb)
            && self.resources.any(is_it)
            && self.groups.has(&info.group)
            && match info.namespace.as_str() {
                "" => self.cluster,
                namespace => self.namespaces.has(namespace),
            }
    }
}

impl PathRule {
    fn of(rule: &Value) -> PathRule {
        let below = |path: &str| {
            let begin = path.strip_suffix('*').unwrap_or(path);
            match begin.ends_with('/') {
                true => begin.into(),
                false => format!("{begin}/"),
            }
        };
        PathRule {
            verbs: Words::of(rule.texts("verbs")),
            all: rule.texts("nonResourceURLs").any(|path| path == "*"),
            paths: rule
                .texts("nonResourceURLs")
                .map(|path| (path.into(), below(path).into()))
                .collect(),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let path = info.path.as_str();
        let is_it =
            |(whole, below): &(Box<str>, Box<str>)| **whole == *path || path.starts_with(&**below);
        self.verbs.has(&info.verb) && (self.all || self.paths.iter().any(is_it))
    }
}

impl Rule {
    pub fn of(rule: &Value) -> Rule {
        Rule {
            subjects: rule
                .list("subjects")
                .iter()
                .filter_map(Subject::of)
                .collect(),
            resources: rule
                .list("resourceRules")
                .iter()
                .map(ResourceRule::of)
                .collect(),
            paths: rule
                .list("nonResourceRules")
                .iter()
                .map(PathRule::of)
                .collect(),
        }
    }

    pub fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        self.subjects.iter().any(|subject| subject.is(user))
            && match info.is_resource {
                true => self.resources.iter().any(|rule| rule.matches(info)),
                false => self.paths.iter().any(|rule| rule.matches(info)),
            }
    }
}
