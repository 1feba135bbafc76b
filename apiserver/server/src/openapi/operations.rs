//! The paths of OpenAPI: for each row what its verbs and subresources answer to.
//!
//! Follows the names and the order of `staging/src/k8s.io/apiserver/pkg/endpoints/installer.go` and kube-openapi's builder.

use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::read::Read,
};

use super::{
    names::{META, definition_of, name_of, reference},
    parameters::{body, lift, path, queries, query},
};

/// What objects are answered in, of kinds that definitions bring and of all others, and what changes of these are followed in.
const PRODUCES_OF_CUSTOM: &[&str] = &["application/json", "application/yaml"];
pub const PRODUCES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
/// A log is text; what else is told about it is not.
const LOGS: &[&str] = &[
    "text/plain",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const ANYTHING: &[&str] = &["*/*"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Of kinds that definitions bring: nobody knows by which keys their lists are merged.
const PATCHES_OF_CUSTOM: [&str; 3] = [PATCHES[0], PATCHES[1], PATCHES[3]];

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
const FOLLOWS: Shape = shape(["get", "watch", "watch", LIST], &[200], Body::None);
const FOLLOWS_LIST: Shape = shape(["get", "watchlist", "watch", LIST], &[200], Body::None);
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
/// Of kinds that definitions bring: as a list is asked for.
const DELETES_MANY_OF_CUSTOM: Shape = shape(
    ["delete", "deletecollection", "delete", LIST],
    &[200],
    Body::None,
);
const READS: Shape = shape(["get", "get", "read", ""], &[200], Body::None);
const READS_CUSTOM: Shape = shape(
    ["get", "get", "read", "resourceVersion"],
    &[200],
    Body::None,
);
const REPLACES: Shape = shape(["put", "put", "replace", WRITE], &[200, 201], Body::Object);
const PATCHES_ONE: Shape = shape(["patch", "patch", "patch", PATCH], &[200, 201], Body::Patch);
const PATCHES_CUSTOM: Shape = shape(["patch", "patch", "patch", PATCH], &[200], Body::Patch);
const DELETES: Shape = shape(
    ["delete", "delete", "delete", DELETE],
    &[200, 202],
    Body::DeleteOptions,
);

pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// `rbac.authorization.k8s.io` and `v1` as parts of names: `RbacAuthorizationV1`; and as a tag: `rbacAuthorization_v1`.
pub fn group_words(group: &str, version: &str) -> (String, String) {
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
    /// Parameters that each of them has.
    shared: Vec<Value>,
}

impl Maker<'_> {
    /// The name of an operation; `what` follows the group's words.
    fn id(&self, word: &str, what: &str) -> String {
        let (words, _) = group_words(self.row.group, self.row.version);
        let (middle, end) = match what {
            ALL => ("", ALL),
            LIST_OF_ALL => ("", LIST_OF_ALL),
            LIST_OF => ("", LIST_OF),
            what => (what, ""),
        };
        let scope = match self.row.namespaced && !end.ends_with(ALL) {
            true => "Namespaced",
            false => "",
        };
        format!(
            "{word}{words}{middle}{scope}{}{}{end}",
            self.row.kind, self.suffix
        )
    }

    /// Adds an operation that answers with the object.
    fn add(&self, to: &mut Map<String, Value>, shape: &Shape, description: String) {
        self.answer(to, shape, "", description, self.object.clone());
    }

    /// Media types that an operation takes and answers with.
    fn media(&self, shape: &Shape) -> (&'static [&'static str], &'static [&'static str]) {
        let custom = self.row.flags.untyped;
        let consumes = match shape.body {
            Body::Patch if custom => &PATCHES_OF_CUSTOM,
            Body::Patch => &PATCHES as &[&str],
            _ if custom => PRODUCES_OF_CUSTOM,
            _ => ANYTHING,
        };
        let produces = match shape.action {
            _ if custom => PRODUCES_OF_CUSTOM,
            "list" | "watch" | "watchlist" => STREAMS,
            "connect" => ANYTHING,
            "get" if self.object.text("type") == "string" => LOGS,
            _ => PRODUCES,
        };
        (consumes, produces)
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
        let body = match shape.body {
            Body::None => None,
            Body::Object => Some(body(self.object.clone(), true)),
            Body::Patch => Some(body(meta("Patch"), true)),
            Body::DeleteOptions => Some(body(meta("DeleteOptions"), false)),
        };
        let mut parameters: Vec<Value> = body.into_iter().collect();
        parameters.extend(queries(shape.query));
        parameters.extend(self.shared.iter().cloned());
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
        let (consumes, produces) = self.media(shape);
        let operation = json!({"operationId": id, "description": description, "tags": [tag], "schemes": ["https"],
            "consumes": consumes, "produces": produces, "parameters": parameters, "responses": responses, "x-kubernetes-action": shape.action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind}});
        to.insert(shape.method.into(), operation);
    }
}

/// What a list, or a watch of one, over all namespaces is of, as [`Maker::id`] puts it.
const ALL: &str = "ForAllNamespaces";
const LIST_OF: &str = "List";
const LIST_OF_ALL: &str = "ListForAllNamespaces";

fn base(row: &Kind) -> String {
    if row.group.is_empty() {
        format!("/api/{}", row.version)
    } else {
        format!("/apis/{}/{}", row.group, row.version)
    }
}

/// A path with its operations.
fn put(paths: &mut Map<String, Value>, path: String, mut item: Map<String, Value>) {
    lift(&mut item);
    paths.insert(path, item.into());
}

/// Adds all paths of a row.
pub fn of_kind(row: &Kind, paths: &mut Map<String, Value>) {
    let place = if row.namespaced {
        format!("namespaces/{{namespace}}/{}", row.plural)
    } else {
        row.plural.to_string()
    };
    let (base, kind) = (base(row), row.kind);
    let mut maker = Maker {
        row,
        about: (row.group, row.version, kind),
        object: reference(&definition_of(row)),
        suffix: String::new(),
        shared: vec![query("pretty")],
    };
    // definitions bring no paths of the older form
    if row.verbs.has("watch") && !row.flags.untyped {
        of_watches(&maker, &base, &place, paths);
    }
    let listing = match row.verbs.has("watch") && !row.flags.untyped {
        true => "list or watch",
        false => "list",
    };
    let lists = format!("{listing} objects of kind {kind}");
    let list = || reference(&format!("{}List", definition_of(row)));
    if row.verbs.has("list") && row.namespaced {
        let mut all = Map::new();
        maker.answer(&mut all, &LISTS, ALL, lists.clone(), list());
        put(paths, format!("{base}/{}", row.plural), all);
    }
    maker.shared.extend(namespace_of(row));
    let mut collection = Map::new();
    if row.verbs.has("list") {
        maker.answer(&mut collection, &LISTS, "", lists, list());
    }
    if row.verbs.has("create") {
        let says = format!("create {}{kind}", article(kind));
        maker.add(&mut collection, &CREATES, says);
    }
    if row.verbs.has("deletecollection") {
        let shape = match row.flags.untyped {
            true => &DELETES_MANY_OF_CUSTOM,
            false => &DELETES_MANY,
        };
        let (says, status) = (format!("delete collection of {kind}"), status());
        maker.answer(&mut collection, shape, "Collection", says, status);
    }
    put(paths, format!("{base}/{place}"), collection);
    if row.verbs.has("get") {
        maker.shared.push(name_parameter(row));
        of_object(&maker, &format!("{base}/{place}/{{name}}"), paths);
    }
}

fn status() -> Value {
    reference(&format!("{META}.Status"))
}

fn namespace_of(row: &Kind) -> Option<Value> {
    let words = "object name and auth scope, such as for teams and projects";
    row.namespaced.then(|| path("namespace", words))
}

fn name_parameter(row: &Kind) -> Value {
    path("name", &format!("name of the {}", row.kind))
}

/// The paths of one object, and of its subresources.
fn of_object(maker: &Maker<'_>, place: &str, paths: &mut Map<String, Value>) {
    let (row, kind) = (maker.row, maker.row.kind);
    let mut one = Map::new();
    let (reads, patches) = shapes(row);
    maker.add(&mut one, reads, format!("read the specified {kind}"));
    if row.verbs.has("update") {
        let says = format!("replace the specified {kind}");
        maker.add(&mut one, &REPLACES, says);
    }
    if row.verbs.has("patch") {
        let says = format!("partially update the specified {kind}");
        maker.add(&mut one, patches, says);
    }
    if row.verbs.has("delete") {
        let says = format!("delete {}{kind}", article(kind));
        // a namespace is answered with when it has finalizers, as anything that goes later, and that is not spoken of
        let finalized = row.subresources.contains(&Subresource::Finalize);
        let answer = match row.flags.returns_deleted && !finalized {
            true => maker.object.clone(),
            false => status(),
        };
        maker.answer(&mut one, &DELETES, "", says, answer);
    }
    put(paths, place.to_owned(), one);
    for &sub in &row.subresources {
        let place = format!("{place}/{}", sub.name());
        of_subresource(row, sub, &place, &maker.shared, paths);
    }
}

/// How objects of a kind are read and patched.
fn shapes(row: &Kind) -> (&'static Shape, &'static Shape) {
    match row.flags.untyped {
        true => (&READS_CUSTOM, &PATCHES_CUSTOM),
        false => (&READS, &PATCHES_ONE),
    }
}

/// The older form of watches, whose paths have a `watch` in them.
fn of_watches(maker: &Maker<'_>, base: &str, place: &str, paths: &mut Map<String, Value>) {
    let (row, kind) = (maker.row, maker.row.kind);
    let event = || reference(&format!("{META}.WatchEvent"));
    let deprecated = "deprecated: use the 'watch' parameter with a list operation instead";
    let many = format!("watch individual changes to a list of {kind}. {deprecated}.");
    let mut add = |path: String, shape: &Shape, what: &str, says: String, shared: Vec<Value>| {
        let maker = Maker {
            shared: maker.shared.iter().cloned().chain(shared).collect(),
            object: maker.object.clone(),
            suffix: String::new(),
            ..*maker
        };
        let mut item = Map::new();
        maker.answer(&mut item, shape, what, says, event());
        put(paths, format!("{base}/watch/{path}"), item);
    };
    let mut within: Vec<Value> = namespace_of(row).into_iter().collect();
    let collection = within.clone();
    add(
        place.into(),
        &FOLLOWS_LIST,
        LIST_OF,
        many.clone(),
        collection,
    );
    if row.namespaced {
        add(
            row.plural.into(),
            &FOLLOWS_LIST,
            LIST_OF_ALL,
            many,
            Vec::new(),
        );
    }
    if row.verbs.has("get") {
        let says = format!(
            "watch changes to an object of kind {kind}. {deprecated}, filtered to a single item with the 'fieldSelector' parameter."
        );
        within.push(name_parameter(row));
        add(format!("{place}/{{name}}"), &FOLLOWS, "", says, within);
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
    let own = (row.group, row.version, kind);
    let mut maker = Maker {
        row,
        about: sub.kind().filter(|_| !row.flags.untyped).unwrap_or(own),
        object: reference(&spoken(row, sub)),
        suffix: match sub {
            Subresource::EphemeralContainers => "Ephemeralcontainers".into(),
            Subresource::PortForward => "Portforward".into(),
            _ => capital(name),
        },
        shared: shared.to_vec(),
    };
    let mut item = Map::new();
    match sub {
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            maker.connected_by(match sub {
                Subresource::Exec => "command container stderr stdin stdout tty",
                Subresource::Attach => "container stderr stdin stdout tty",
                _ => "ports",
            });
            maker.connect(&mut item, name, &["get", "post"]);
        }
        Subresource::Proxy(_) => {
            const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];
            maker.connected_by("path");
            maker.connect(&mut item, name, &METHODS);
            let mut below = Map::new();
            let mut maker = Maker {
                suffix: maker.suffix + "WithPath",
                ..maker
            };
            maker.shared.push(path("path", "path to the resource"));
            maker.connect(&mut below, name, &METHODS);
            put(paths, format!("{place}/{{path}}"), below);
        }
        Subresource::Log => {
            maker.object = json!({"type": "string"});
            maker.shared.extend(queries(
                "container follow insecureSkipTLSVerifyBackend limitBytes previous sinceSeconds stream tailLines timestamps",
            ));
            let says = format!("read {name} of the specified {kind}");
            maker.add(&mut item, &READS, says);
        }
        _ => {
            let of = format!("{name} of the specified {kind}");
            let (reads, patches) = shapes(row);
            for verb in sub.verbs() {
                let (shape, says) = match *verb {
                    "get" => (reads, format!("read {of}")),
                    "patch" => (patches, format!("partially update {of}")),
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
    put(paths, place.into(), item);
}

impl Maker<'_> {
    /// Parameters of what is connected with, which is never indented.
    fn connected_by(&mut self, names: &str) {
        self.shared.retain(|one| one.text("name") != "pretty");
        self.shared.extend(queries(names));
    }

    fn connect(&self, to: &mut Map<String, Value>, name: &str, methods: &[&'static str]) {
        for method in methods {
            let shape = shape([method, "connect", "connect", ""], &[200], Body::None);
            let says = format!(
                "connect {} requests to {name} of {}",
                method.to_uppercase(),
                self.row.kind
            );
            let text = json!({"type": "string"});
            self.answer(to, &shape, &capital(method), says, text);
        }
    }
}
