//! The paths of OpenAPI: for each row what its verbs and subresources answer to.
//!
//! Follows the names and the order of `staging/src/k8s.io/apiserver/pkg/endpoints/installer.go` and kube-openapi's builder.

use serde_json::{Map, Value, json};
use skiff_api::kinds::{Kind, Registry, Subresource};

use super::definitions::{definition_of, name_of, reference};
use crate::groups;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const PRODUCES: [&str; 2] = ["application/json", "application/yaml"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Query parameters: name, type, what they are for.
const PARAMETERS: &[(&str, &str, &str)] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch may send BOOKMARK events, which tell how far it has come.",
    ),
    ("command", "string", "The command to run, a word each."),
    (
        "container",
        "string",
        "The container that is meant; may be left out when the pod has but one.",
    ),
    (
        "continue",
        "string",
        "Where an earlier answer of this list ended, to go on from there.",
    ),
    ("dryRun", "string", "All: everything is done but the write."),
    (
        "fieldManager",
        "string",
        "The name under which the fields that the request sets are managed.",
    ),
    (
        "fieldSelector",
        "string",
        "Only objects whose fields match.",
    ),
    (
        "fieldValidation",
        "string",
        "What happens to unknown and duplicate fields: Ignore, Warn or Strict.",
    ),
    (
        "follow",
        "boolean",
        "Whether the answer goes on as the log grows.",
    ),
    (
        "force",
        "boolean",
        "Whether an apply takes fields over that others manage.",
    ),
    (
        "gracePeriodSeconds",
        "integer",
        "Seconds that the object has to end; zero is at once.",
    ),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Whether an object that cannot be read is deleted all the same.",
    ),
    (
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Whether the certificate of the node is left unchecked.",
    ),
    (
        "labelSelector",
        "string",
        "Only objects whose labels match.",
    ),
    (
        "limit",
        "integer",
        "The most objects that one answer holds; more follow by continue.",
    ),
    ("limitBytes", "integer", "The most bytes of the log."),
    (
        "orphanDependents",
        "boolean",
        "Whether dependents stay; propagationPolicy says it better.",
    ),
    ("path", "string", "The path behind the proxy."),
    ("ports", "integer", "Ports to forward."),
    ("pretty", "string", "If true, the answer is indented."),
    (
        "previous",
        "boolean",
        "Whether the log of the container's earlier run is meant.",
    ),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
    (
        "resourceVersion",
        "string",
        "The version that the answer is to show, or from which a watch goes on.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "How resourceVersion is meant: Exact or NotOlderThan.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch begins with what there is.",
    ),
    ("shardSelector", "string", "Only the objects of a shard."),
    ("sinceSeconds", "integer", "Only the log's last seconds."),
    ("stderr", "boolean", "Whether standard error is sent."),
    ("stdin", "boolean", "Whether standard input is read."),
    ("stdout", "boolean", "Whether standard output is sent."),
    (
        "stream",
        "string",
        "Which stream of the log: All, Stdout or Stderr.",
    ),
    ("tailLines", "integer", "Only the log's last lines."),
    (
        "timeoutSeconds",
        "integer",
        "Seconds after which a list or watch ends.",
    ),
    (
        "timestamps",
        "boolean",
        "Whether each line of the log begins with its time.",
    ),
    ("tty", "boolean", "Whether there is a terminal."),
    ("watch", "boolean", "Whether changes follow as a stream."),
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
];

fn query(name: &str) -> Value {
    let (_, kind, description) = PARAMETERS
        .iter()
        .find(|(known, ..)| *known == name)
        .copied()
        .unwrap_or((name, "string", ""));
    json!({"name": name, "in": "query", "type": kind, "description": description, "uniqueItems": true})
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "path", "type": "string", "description": description, "required": true, "uniqueItems": true})
}

fn body(schema: Value, required: bool) -> Value {
    let mut body = json!({"name": "body", "in": "body", "schema": schema});
    if required {
        body["required"] = true.into();
    }
    body
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// `rbac.authorization.k8s.io` and `v1` as parts of names: `RbacAuthorizationV1`; and as a tag: `rbacAuthorization_v1`.
fn group_words(group: &str, version: &str) -> (String, String) {
    let bare = group.strip_suffix(".k8s.io").unwrap_or(group);
    let words: String = if group.is_empty() {
        "Core".into()
    } else {
        bare.split('.').map(capital).collect()
    };
    let mut tag = words.clone();
    if let Some(first) = tag.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    (
        format!("{words}{}", capital(version)),
        format!("{tag}_{version}"),
    )
}

/// One operation in the making.
struct Operation<'a> {
    row: &'a Kind,
    id: String,
    description: String,
    action: &'static str,
    /// Group, version and kind that the operation is about.
    about: (&'a str, &'a str, &'a str),
    consumes: &'a [&'a str],
    query: &'a [&'a str],
    body: Option<Value>,
    codes: &'a [u16],
    answer: Value,
}

impl Operation<'_> {
    fn made(self) -> Value {
        let (_, tag) = group_words(self.row.group, self.row.version);
        let mut parameters: Vec<Value> = self.body.into_iter().collect();
        parameters.extend(self.query.iter().map(|name| query(name)));
        let mut responses = Map::new();
        for code in self.codes {
            let text = match code {
                201 => "Created",
                202 => "Accepted",
                _ => "OK",
            };
            responses.insert(
                code.to_string(),
                json!({"description": text, "schema": self.answer}),
            );
        }
        responses.insert("401".into(), json!({"description": "Unauthorized"}));
        let (group, version, kind) = self.about;
        let mut operation = json!({"operationId": self.id, "description": self.description, "tags": [tag], "schemes": ["https"],
            "consumes": self.consumes, "produces": PRODUCES, "responses": responses,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind}});
        if !self.action.is_empty() {
            operation["x-kubernetes-action"] = self.action.into();
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        operation
    }
}

fn base(row: &Kind) -> String {
    if row.group.is_empty() {
        format!("/api/{}", row.version)
    } else {
        format!("/apis/{}/{}", row.group, row.version)
    }
}

/// Adds all paths of a row.
pub fn of_kind(row: &Kind, paths: &mut Map<String, Value>) {
    let (words, _) = group_words(row.group, row.version);
    let scope = if row.namespaced { "Namespaced" } else { "" };
    let place = if row.namespaced {
        format!("{}/namespaces/{{namespace}}/{}", base(row), row.plural)
    } else {
        format!("{}/{}", base(row), row.plural)
    };
    let kind = row.kind;
    let item = reference(&definition_of(row));
    let listing = if row.verbs.has("watch") {
        "list or watch"
    } else {
        "list"
    };
    let mut shared = Vec::new();
    if row.namespaced {
        shared.push(path_parameter(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    shared.push(query("pretty"));
    let plain = |id: String, description: String, action: &'static str| Operation {
        row,
        id,
        description,
        action,
        about: (row.group, row.version, kind),
        consumes: &["*/*"],
        query: &[],
        body: None,
        codes: &[200],
        answer: item.clone(),
    };
    let mut collection = Map::new();
    if row.verbs.has("list") {
        let op = plain(
            format!("list{words}{scope}{kind}"),
            format!("{listing} objects of kind {kind}"),
            "list",
        );
        let answer = reference(&format!("{}List", definition_of(row)));
        collection.insert(
            "get".into(),
            Operation {
                query: LIST,
                answer,
                ..op
            }
            .made(),
        );
    }
    if row.verbs.has("create") {
        let op = plain(
            format!("create{words}{scope}{kind}"),
            format!("create {}{kind}", article(kind)),
            "post",
        );
        collection.insert(
            "post".into(),
            Operation {
                query: WRITE,
                body: Some(body(item.clone(), true)),
                codes: &[200, 201, 202],
                ..op
            }
            .made(),
        );
    }
    if row.verbs.has("deletecollection") {
        let op = plain(
            format!("delete{words}Collection{scope}{kind}"),
            format!("delete collection of {kind}"),
            "deletecollection",
        );
        let status = reference(&format!("{META}.Status"));
        collection.insert(
            "delete".into(),
            Operation {
                query: DELETE_COLLECTION,
                body: Some(delete_options()),
                answer: status,
                ..op
            }
            .made(),
        );
    }
    collection.insert("parameters".into(), shared.clone().into());
    paths.insert(place.clone(), collection.into());
    if row.verbs.has("list") && row.namespaced {
        let op = plain(
            format!("list{words}{kind}ForAllNamespaces"),
            format!("{listing} objects of kind {kind}"),
            "list",
        );
        let answer = reference(&format!("{}List", definition_of(row)));
        let get = Operation { answer, ..op }.made();
        let parameters: Vec<Value> = LIST
            .iter()
            .chain(&["pretty"])
            .map(|name| query(name))
            .collect();
        paths.insert(
            format!("{}/{}", base(row), row.plural),
            json!({"get": get, "parameters": parameters}),
        );
    }
    if !row.verbs.has("get") {
        return;
    }
    let mut named = shared;
    named.insert(0, path_parameter("name", &format!("name of the {kind}")));
    let mut one = Map::new();
    one.insert(
        "get".into(),
        plain(
            format!("read{words}{scope}{kind}"),
            format!("read the specified {kind}"),
            "get",
        )
        .made(),
    );
    if row.verbs.has("update") {
        let op = plain(
            format!("replace{words}{scope}{kind}"),
            format!("replace the specified {kind}"),
            "put",
        );
        one.insert(
            "put".into(),
            Operation {
                query: WRITE,
                body: Some(body(item.clone(), true)),
                codes: &[200, 201],
                ..op
            }
            .made(),
        );
    }
    if row.verbs.has("patch") {
        let op = plain(
            format!("patch{words}{scope}{kind}"),
            format!("partially update the specified {kind}"),
            "patch",
        );
        one.insert("patch".into(), patch(op));
    }
    if row.verbs.has("delete") {
        let op = plain(
            format!("delete{words}{scope}{kind}"),
            format!("delete {}{kind}", article(kind)),
            "delete",
        );
        let answer = if row.flags.returns_deleted {
            item.clone()
        } else {
            reference(&format!("{META}.Status"))
        };
        one.insert(
            "delete".into(),
            Operation {
                query: DELETE,
                body: Some(delete_options()),
                codes: &[200, 202],
                answer,
                ..op
            }
            .made(),
        );
    }
    one.insert("parameters".into(), named.clone().into());
    paths.insert(format!("{place}/{{name}}"), one.into());
    for &sub in &row.subresources {
        of_subresource(
            row,
            sub,
            &format!("{place}/{{name}}/{}", sub.name()),
            &named,
            paths,
        );
    }
}

/// `a ` or `an `; plurals have none.
fn article(kind: &str) -> &'static str {
    match kind {
        plural if plural.ends_with('s') && !plural.ends_with("ss") => "",
        vowel if vowel.starts_with(['A', 'E', 'I', 'O', 'U']) => "an ",
        _ => "a ",
    }
}

fn delete_options() -> Value {
    body(reference(&format!("{META}.DeleteOptions")), false)
}

fn patch(op: Operation<'_>) -> Value {
    Operation {
        consumes: &PATCHES,
        query: PATCH,
        body: Some(body(reference(&format!("{META}.Patch")), true)),
        codes: &[200, 201],
        ..op
    }
    .made()
}

/// The definition of what a subresource speaks.
fn spoken(row: &Kind, sub: Subresource) -> String {
    match sub {
        Subresource::Scale => name_of("autoscaling.v1.Scale"),
        Subresource::Eviction => name_of("policy.v1.Eviction"),
        Subresource::Token => name_of("authentication.v1.TokenRequest"),
        Subresource::Binding => name_of("core.v1.Binding"),
        _ => definition_of(row),
    }
}

fn of_subresource(
    row: &Kind,
    sub: Subresource,
    place: &str,
    shared: &[Value],
    paths: &mut Map<String, Value>,
) {
    let (words, _) = group_words(row.group, row.version);
    let scope = if row.namespaced { "Namespaced" } else { "" };
    let (kind, name) = (row.kind, sub.name());
    let suffix = match sub {
        Subresource::EphemeralContainers => "Ephemeralcontainers".into(),
        Subresource::PortForward => "Portforward".into(),
        _ => capital(name),
    };
    let schema = reference(&spoken(row, sub));
    let op = |id: String, description: String, action: &'static str| Operation {
        row,
        id,
        description,
        action,
        about: sub.kind().unwrap_or((row.group, row.version, kind)),
        consumes: &["*/*"],
        query: &[],
        body: None,
        codes: &[200],
        answer: schema.clone(),
    };
    let connect = |verb: &str, with_path: &str| {
        let id = format!(
            "connect{words}{}{scope}{kind}{suffix}{with_path}",
            capital(verb)
        );
        let connect = op(
            id,
            format!(
                "connect {} requests to {name} of {kind}",
                verb.to_uppercase()
            ),
            "connect",
        );
        Operation {
            answer: json!({"type": "string"}),
            ..connect
        }
        .made()
    };
    let mut item = Map::new();
    let mut parameters = shared.to_vec();
    match sub {
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            let options: &[&str] = match sub {
                Subresource::Exec => &["command", "container", "stderr", "stdin", "stdout", "tty"],
                Subresource::Attach => &["container", "stderr", "stdin", "stdout", "tty"],
                _ => &["ports"],
            };
            parameters.retain(|parameter| parameter["name"] != "pretty");
            parameters.extend(options.iter().map(|name| query(name)));
            for verb in ["get", "post"] {
                item.insert(verb.into(), connect(verb, ""));
            }
        }
        Subresource::Proxy(_) => {
            parameters.retain(|parameter| parameter["name"] != "pretty");
            parameters.push(query("path"));
            const VERBS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];
            for verb in VERBS {
                item.insert(verb.into(), connect(verb, ""));
            }
            let mut below = Map::new();
            VERBS.iter().for_each(|verb| {
                below.insert((*verb).into(), connect(verb, "WithPath"));
            });
            let mut with_path = parameters.clone();
            with_path.push(path_parameter("path", "path to the resource"));
            below.insert("parameters".into(), with_path.into());
            paths.insert(format!("{place}/{{path}}"), below.into());
        }
        Subresource::Log => {
            let options = [
                "container",
                "follow",
                "insecureSkipTLSVerifyBackend",
                "limitBytes",
                "previous",
                "sinceSeconds",
                "stream",
                "tailLines",
                "timestamps",
            ];
            parameters.extend(options.iter().map(|name| query(name)));
            let read = op(
                format!("read{words}{scope}{kind}{suffix}"),
                format!("read {name} of the specified {kind}"),
                "get",
            );
            item.insert(
                "get".into(),
                Operation {
                    answer: json!({"type": "string"}),
                    ..read
                }
                .made(),
            );
        }
        _ => {
            for verb in sub.verbs() {
                let (method, made) = match *verb {
                    "get" => (
                        "get",
                        op(
                            format!("read{words}{scope}{kind}{suffix}"),
                            format!("read {name} of the specified {kind}"),
                            "get",
                        )
                        .made(),
                    ),
                    "patch" => (
                        "patch",
                        patch(op(
                            format!("patch{words}{scope}{kind}{suffix}"),
                            format!("partially update {name} of the specified {kind}"),
                            "patch",
                        )),
                    ),
                    "update" => {
                        let put = op(
                            format!("replace{words}{scope}{kind}{suffix}"),
                            format!("replace {name} of the specified {kind}"),
                            "put",
                        );
                        (
                            "put",
                            Operation {
                                query: WRITE,
                                body: Some(body(schema.clone(), true)),
                                codes: &[200, 201],
                                ..put
                            }
                            .made(),
                        )
                    }
                    _ => {
                        let post = op(
                            format!("create{words}{scope}{kind}{suffix}"),
                            format!("create {name} of {}{kind}", article(kind)),
                            "post",
                        );
                        (
                            "post",
                            Operation {
                                query: WRITE,
                                body: Some(body(schema.clone(), true)),
                                codes: &[200, 201, 202],
                                ..post
                            }
                            .made(),
                        )
                    }
                };
                item.insert(method.into(), made);
            }
        }
    }
    item.insert("parameters".into(), parameters.into());
    paths.insert(place.into(), item.into());
}

/// Adds the paths of discovery, of all groups or of one group and version.
pub fn of_discovery(kinds: &Registry, only: Option<(&str, &str)>, paths: &mut Map<String, Value>) {
    let mut add = |path: String, id: String, description: &str, tag: &str, answer: &str| {
        let get = json!({"operationId": id, "description": description, "tags": [tag], "schemes": ["https"], "consumes": PRODUCES, "produces": PRODUCES,
            "responses": {"200": {"description": "OK", "schema": reference(&format!("{META}.{answer}"))}, "401": {"description": "Unauthorized"}}});
        paths.insert(path, json!({"get": get}));
    };
    let all = only.is_none();
    if all {
        add(
            "/api/".into(),
            "getCoreAPIVersions".into(),
            "get available API versions",
            "core",
            "APIVersions",
        );
        add(
            "/apis/".into(),
            "getAPIVersions".into(),
            "get available API versions",
            "apis",
            "APIGroupList",
        );
    }
    let groups = std::iter::once(("", vec!["v1"])).chain(groups::groups(kinds));
    for (group, versions) in groups {
        let (_, tag) = group_words(group, "");
        if all && !group.is_empty() {
            let tag = tag.trim_end_matches('_');
            add(
                format!("/apis/{group}/"),
                format!("get{}APIGroup", capital(tag)),
                "get information of a group",
                tag,
                "APIGroup",
            );
        }
        for version in versions
            .into_iter()
            .filter(|version| only.is_none_or(|wanted| wanted == (group, version)))
        {
            let (words, tag) = group_words(group, version);
            let path = if group.is_empty() {
                format!("/api/{version}/")
            } else {
                format!("/apis/{group}/{version}/")
            };
            add(
                path,
                format!("get{words}APIResources"),
                "get available resources",
                &tag,
                "APIResourceList",
            );
        }
    }
}
