//! The paths of OpenAPI: for each row what its verbs and subresources answer to.
//!
//! Follows the names and the order of `staging/src/k8s.io/apiserver/pkg/endpoints/installer.go` and kube-openapi's builder.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::{Kind, Registry, Subresource},
    machinery::read::Read,
};

use super::names::{definition_of, name_of, reference};
use crate::groups;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const PRODUCES: [&str; 2] = ["application/json", "application/yaml"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Of kinds that definitions bring: nobody knows by which keys their lists are merged.
const PATCHES_OF_CUSTOM: [&str; 3] = [PATCHES[0], PATCHES[1], PATCHES[3]];

/// Query parameters: name, type, what they are for.
static PARAMETERS: LazyLock<Vec<[&str; 3]>> = LazyLock::new(|| {
    let lines = include_str!("parameters.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.splitn(3, ' ').collect::<Vec<_>>().try_into().ok())
        .collect()
});

const LIST: &str = "allowWatchBookmarks continue fieldSelector labelSelector limit resourceVersion resourceVersionMatch sendInitialEvents shardSelector timeoutSeconds watch";
const WRITE: &str = "dryRun fieldManager fieldValidation";
const PATCH: &str = "dryRun fieldManager fieldValidation force";
const DELETE: &str = "dryRun gracePeriodSeconds ignoreStoreReadErrorWithClusterBreakingPotential orphanDependents propagationPolicy";
const DELETE_COLLECTION: &str = "continue dryRun fieldSelector gracePeriodSeconds ignoreStoreReadErrorWithClusterBreakingPotential labelSelector limit orphanDependents propagationPolicy resourceVersion resourceVersionMatch sendInitialEvents shardSelector timeoutSeconds";

/// What an operation is like.
struct Shape {
    method: &'static str,
    action: &'static str,
    /// The first word of its name.
    word: &'static str,
    /// Its parameters, with blanks between.
    query: &'static str,
    codes: &'static [u16],
    body: Body,
}

#[derive(Clone, Copy)]
enum Body {
    None,
    Object,
    Patch,
    DeleteOptions,
}

const fn shape(
    [method, action, word, query]: [&'static str; 4],
    codes: &'static [u16],
    body: Body,
) -> Shape {
    Shape {
        method,
        action,
        word,
        query,
        codes,
        body,
    }
}

const LISTS: Shape = shape(["get", "list", "list", LIST], &[200], Body::None);
const LISTS_ALL: Shape = shape(["get", "list", "list", ""], &[200], Body::None);
const CREATES: Shape = shape(
    ["post", "post", "create", WRITE],
    &[200, 201, 202],
    Body::Object,
);
const DELETES_MANY: Shape = shape(
    ["delete", "deletecollection", "delete", DELETE_COLLECTION],
    &[200],
    Body::DeleteOptions,
);
const READS: Shape = shape(["get", "get", "read", ""], &[200], Body::None);
const REPLACES: Shape = shape(["put", "put", "replace", WRITE], &[200, 201], Body::Object);
const PATCHES_ONE: Shape = shape(["patch", "patch", "patch", PATCH], &[200, 201], Body::Patch);
const DELETES: Shape = shape(
    ["delete", "delete", "delete", DELETE],
    &[200, 202],
    Body::DeleteOptions,
);

fn query(name: &str) -> Value {
    let known = PARAMETERS.iter().find(|[known, ..]| *known == name);
    let [name, kind, description] = known.copied().unwrap_or([name, "string", ""]);
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

/// What the operations of a row, or of a subresource of it, have in common.
struct Maker<'a> {
    row: &'a Kind,
    /// Group, version and kind that they are about.
    about: (&'a str, &'a str, &'a str),
    /// What they take and answer.
    object: Value,
    /// Of their names: the subresource.
    suffix: String,
}

impl Maker<'_> {
    /// The name of an operation; `what` follows the group's words.
    fn id(&self, word: &str, what: &str) -> String {
        let (words, _) = group_words(self.row.group, self.row.version);
        let scope = if self.row.namespaced && what != ALL {
            "Namespaced"
        } else {
            ""
        };
        let (what, end) = if what == ALL { ("", ALL) } else { (what, "") };
        format!(
            "{word}{words}{what}{scope}{}{}{end}",
            self.row.kind, self.suffix
        )
    }

    /// Adds an operation that answers with the object.
    fn add(&self, to: &mut Map<String, Value>, shape: &Shape, description: String) {
        self.answer(to, shape, "", description, self.object.clone());
    }

    fn answer(
        &self,
        to: &mut Map<String, Value>,
        shape: &Shape,
        what: &str,
        description: String,
        answer: Value,
    ) {
        let (_, tag) = group_words(self.row.group, self.row.version);
        let meta = |name: &str| reference(&format!("{META}.{name}"));
        let (patches, others): (&[&str], &[&str]) = match self.row.flags.untyped {
            true => (&PATCHES_OF_CUSTOM, &PRODUCES),
            false => (&PATCHES, &["*/*"]),
        };
        let (body, consumes) = match shape.body {
            Body::None => (None, others),
            Body::Object => (Some(body(self.object.clone(), true)), others),
            Body::Patch => (Some(body(meta("Patch"), true)), patches),
            Body::DeleteOptions => (Some(body(meta("DeleteOptions"), false)), others),
        };
        let mut parameters: Vec<Value> = body.into_iter().collect();
        parameters.extend(queries(shape.query));
        let mut responses = Map::new();
        for code in shape.codes {
            let text = match code {
                201 => "Created",
                202 => "Accepted",
                _ => "OK",
            };
            let response = json!({"description": text, "schema": answer});
            responses.insert(code.to_string(), response);
        }
        responses.insert("401".into(), json!({"description": "Unauthorized"}));
        let (group, version, kind) = self.about;
        let id = self.id(shape.word, what);
        let mut operation = json!({"operationId": id, "description": description, "tags": [tag], "schemes": ["https"],
            "consumes": consumes, "produces": PRODUCES, "responses": responses, "x-kubernetes-action": shape.action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind}});
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        to.insert(shape.method.into(), operation);
    }
}

/// What a list over all namespaces is of, as [`Maker::id`] puts it.
const ALL: &str = "ForAllNamespaces";

fn queries(names: &str) -> impl Iterator<Item = Value> {
    names.split_whitespace().map(query)
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
    let place = if row.namespaced {
        format!("{}/namespaces/{{namespace}}/{}", base(row), row.plural)
    } else {
        format!("{}/{}", base(row), row.plural)
    };
    let kind = row.kind;
    let maker = Maker {
        row,
        about: (row.group, row.version, kind),
        object: reference(&definition_of(row)),
        suffix: String::new(),
    };
    let listing = if row.verbs.has("watch") {
        "list or watch"
    } else {
        "list"
    };
    let lists = format!("{listing} objects of kind {kind}");
    let list = || reference(&format!("{}List", definition_of(row)));
    let status = || reference(&format!("{META}.Status"));
    let mut shared = Vec::new();
    if row.namespaced {
        shared.push(path_parameter(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    shared.push(query("pretty"));
    let mut collection = Map::new();
    if row.verbs.has("list") {
        maker.answer(&mut collection, &LISTS, "", lists.clone(), list());
    }
    if row.verbs.has("create") {
        let says = format!("create {}{kind}", article(kind));
        maker.add(&mut collection, &CREATES, says);
    }
    if row.verbs.has("deletecollection") {
        let says = format!("delete collection of {kind}");
        maker.answer(&mut collection, &DELETES_MANY, "Collection", says, status());
    }
    collection.insert("parameters".into(), shared.clone().into());
    paths.insert(place.clone(), collection.into());
    if row.verbs.has("list") && row.namespaced {
        let mut all = Map::new();
        maker.answer(&mut all, &LISTS_ALL, ALL, lists, list());
        let parameters: Vec<Value> = queries(LIST).chain([query("pretty")]).collect();
        all.insert("parameters".into(), parameters.into());
        paths.insert(format!("{}/{}", base(row), row.plural), all.into());
    }
    if !row.verbs.has("get") {
        return;
    }
    let mut named = shared;
    named.insert(0, path_parameter("name", &format!("name of the {kind}")));
    let mut one = Map::new();
    maker.add(&mut one, &READS, format!("read the specified {kind}"));
    if row.verbs.has("update") {
        let says = format!("replace the specified {kind}");
        maker.add(&mut one, &REPLACES, says);
    }
    if row.verbs.has("patch") {
        let says = format!("partially update the specified {kind}");
        maker.add(&mut one, &PATCHES_ONE, says);
    }
    if row.verbs.has("delete") {
        let says = format!("delete {}{kind}", article(kind));
        let answer = match row.flags.returns_deleted {
            true => maker.object.clone(),
            false => status(),
        };
        maker.answer(&mut one, &DELETES, "", says, answer);
    }
    one.insert("parameters".into(), named.clone().into());
    paths.insert(format!("{place}/{{name}}"), one.into());
    for &sub in &row.subresources {
        let place = format!("{place}/{{name}}/{}", sub.name());
        of_subresource(row, sub, &place, &named, paths);
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
    let (kind, name) = (row.kind, sub.name());
    let maker = Maker {
        row,
        about: sub.kind().unwrap_or((row.group, row.version, kind)),
        object: reference(&spoken(row, sub)),
        suffix: match sub {
            Subresource::EphemeralContainers => "Ephemeralcontainers".into(),
            Subresource::PortForward => "Portforward".into(),
            _ => capital(name),
        },
    };
    let text = || json!({"type": "string"});
    let connects =
        |method: &'static str| shape([method, "connect", "connect", ""], &[200], Body::None);
    let connect = |to: &mut Map<String, Value>, maker: &Maker<'_>, methods: &[&'static str]| {
        for method in methods {
            let says = format!(
                "connect {} requests to {name} of {kind}",
                method.to_uppercase()
            );
            maker.answer(to, &connects(method), &capital(method), says, text());
        }
    };
    let mut item = Map::new();
    let mut parameters = shared.to_vec();
    match sub {
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            parameters.retain(|parameter| parameter.text("name") != "pretty");
            parameters.extend(queries(match sub {
                Subresource::Exec => "command container stderr stdin stdout tty",
                Subresource::Attach => "container stderr stdin stdout tty",
                _ => "ports",
            }));
            connect(&mut item, &maker, &["get", "post"]);
        }
        Subresource::Proxy(_) => {
            const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];
            parameters.retain(|parameter| parameter.text("name") != "pretty");
            parameters.push(query("path"));
            connect(&mut item, &maker, &METHODS);
            let maker = Maker {
                suffix: maker.suffix + "WithPath",
                ..maker
            };
            let mut below = Map::new();
            connect(&mut below, &maker, &METHODS);
            let mut with_path = parameters.clone();
            with_path.push(path_parameter("path", "path to the resource"));
            below.insert("parameters".into(), with_path.into());
            paths.insert(format!("{place}/{{path}}"), below.into());
        }
        Subresource::Log => {
            parameters.extend(queries(
                "container follow insecureSkipTLSVerifyBackend limitBytes previous sinceSeconds stream tailLines timestamps",
            ));
            let says = format!("read {name} of the specified {kind}");
            maker.answer(&mut item, &READS, "", says, text());
        }
        _ => {
            let of = format!("{name} of the specified {kind}");
            for verb in sub.verbs() {
                let (shape, says) = match *verb {
                    "get" => (&READS, format!("read {of}")),
                    "patch" => (&PATCHES_ONE, format!("partially update {of}")),
                    "update" => (&REPLACES, format!("replace {of}")),
                    _ => (
                        &CREATES,
                        format!("create {name} of {}{kind}", article(kind)),
                    ),
                };
                maker.add(&mut item, shape, says);
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
        let says = "get available API versions";
        let mut root =
            |path: &str, id: &str, tag, answer| add(path.into(), id.into(), says, tag, answer);
        root("/api/", "getCoreAPIVersions", "core", "APIVersions");
        root("/apis/", "getAPIVersions", "apis", "APIGroupList");
    }
    for (group, versions) in std::iter::once(("", vec!["v1"])).chain(groups::groups(kinds)) {
        let (_, tag) = group_words(group, "");
        if all && !group.is_empty() {
            let tag = tag.trim_end_matches('_');
            let (path, id) = (
                format!("/apis/{group}/"),
                format!("get{}APIGroup", capital(tag)),
            );
            add(path, id, "get information of a group", tag, "APIGroup");
        }
        for version in versions {
            if only.is_some_and(|wanted| wanted != (group, version)) {
                continue;
            }
            let (words, tag) = group_words(group, version);
            let path = match group {
                "" => format!("/api/{version}/"),
                group => format!("/apis/{group}/{version}/"),
            };
            let (id, says) = (format!("get{words}APIResources"), "get available resources");
            add(path, id, says, &tag, "APIResourceList");
        }
    }
}
