//! Every verb of every kind: an object as a user would write it (`testdata/answers/objects.yaml`) is made, read, listed, watched, replaced,
//! patched in each way, applied, scaled and deleted; what was answered stands in `testdata/answers`, one file a kind.
//!
//! Invariant: a kind that is served and has no object in that file fails the test. `SKIFF_UPDATE=1` writes the answers anew: look at what
//! changed before you keep it. What no two servers share is masked.

use std::{collections::BTreeSet, fmt::Write, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Registry, Verbs},
    machinery::yaml,
};

use crate::{
    differences::{differences, ordered},
    mask::Masks,
    protobuf::{self, PROTOBUF},
    server::{Answer, Server},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/answers");
pub const NAMESPACE: &str = "harbour";

#[tokio::test]
async fn every_verb_of_every_kind_answers_as_written_down() {
    let objects = yaml::read(&objects()).unwrap();
    let kinds = Registry::builtin();
    let server = harbour().await;
    let mut stories = Vec::new();
    for object in objects.iter().map(|document| &document.value) {
        let kind = kind_of(object).unwrap_or_else(|| panic!("nothing serves {object}"));
        let mut story = Story::new(&server, kind, object.clone());
        story.tell().await;
        stories.push(story);
    }
    // each watch lasts a second: all at once
    futures::future::join_all(stories.iter_mut().map(Story::watched)).await;
    let differ: Vec<String> = stories.iter().filter_map(compared).collect();
    let told: BTreeSet<String> = stories.iter().map(Story::file).collect();
    for kind in kinds.all().iter().filter(|kind| is_written(kind)) {
        assert!(
            told.contains(&file_of(kind)),
            "objects.yaml has no {} of {}",
            kind.kind,
            kind.api_version()
        );
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// One object of every kind, in YAML.
pub fn objects() -> String {
    std::fs::read_to_string(format!("{FOLDER}/objects.yaml")).unwrap()
}

/// A server with what the objects want to be there.
pub async fn harbour() -> Server {
    let server = Server::start().await;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    server.make("/api/v1/namespaces", &namespace).await;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    server.make(&accounts, &account).await;
    server
}

/// The built-in kind that an object says it is of.
pub fn kind_of(object: &Value) -> Option<&'static Arc<Kind>> {
    let mut all = Registry::builtin().all().iter();
    all.find(|kind| object["apiVersion"] == *kind.api_version() && object["kind"] == *kind.kind)
}

/// Where a kind's objects are, in a namespace if it has one.
pub fn collection(kind: &Kind, namespace: &str) -> String {
    let root = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    match kind.namespaced {
        true => format!("{root}/namespaces/{namespace}/{}", kind.plural),
        false => format!("{root}/{}", kind.plural),
    }
}

/// Bindings are made of pods, and components are only read.
fn is_written(kind: &Kind) -> bool {
    kind.verbs != Verbs::GetList && kind.kind != "Binding"
}

fn file_of(kind: &Kind) -> String {
    format!("{}.{}.txt", kind.api_version().replace('/', "."), kind.kind)
}

/// The first line that is not as it is written down.
fn compared(story: &Story<'_>) -> Option<String> {
    let (file, found) = (story.file(), &story.out);
    let path = Path::new(FOLDER).join(&file);
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
        return None;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == *found {
        return None;
    }
    let (mut old, mut new) = (expected.lines(), found.lines());
    let mut request = "";
    loop {
        match (old.next(), new.next()) {
            (Some(old), Some(new)) if old == new => {
                if !old.starts_with(' ') {
                    request = old;
                }
            }
            (old, new) => {
                return Some(format!(
                    "{file}: after {request}\n  should be {}\n  is        {}",
                    old.unwrap_or("the end"),
                    new.unwrap_or("the end")
                ));
            }
        }
    }
}

/// Kinds whose objects the server itself writes to, and by what one knows that it has.
const FOLLOWED: [(&str, &str); 2] = [
    ("CustomResourceDefinition", "\"Established\""),
    ("FlowSchema", "\"Dangling\""),
];

/// What is asked of one kind, and what is answered.
struct Story<'a> {
    server: &'a Server,
    kind: &'a Kind,
    object: Value,
    masks: Masks,
    /// The object as the last answer showed it.
    last: Value,
    /// Where a watch begins.
    since: String,
    out: String,
}

impl<'a> Story<'a> {
    fn new(server: &'a Server, kind: &'a Kind, object: Value) -> Self {
        Story {
            server,
            kind,
            object,
            masks: Masks::new(),
            last: Value::Null,
            since: String::new(),
            out: String::new(),
        }
    }

    fn file(&self) -> String {
        file_of(self.kind)
    }

    fn collection(&self) -> String {
        collection(self.kind, NAMESPACE)
    }

    fn item(&self) -> String {
        format!(
            "{}/{}",
            self.collection(),
            self.object["metadata"]["name"].as_str().unwrap_or_default()
        )
    }

    async fn tell(&mut self) {
        let collection = self.collection();
        if self.kind.verbs == Verbs::CreateOnly {
            let object = self.object.clone();
            self.write("POST", &collection, "json", &object).await;
            return;
        }
        self.object["metadata"]["labels"] = json!({"told": "yes"});
        let list = self.server.get(&collection).await.is(200).json();
        self.since = list["metadata"]["resourceVersion"].as_str().unwrap().into();
        self.make(&collection).await;
        self.change().await;
        self.parts().await;
        self.end(&collection).await;
    }

    /// Creation, and what is read then.
    async fn make(&mut self, collection: &str) {
        let object = self.object.clone();
        let mut unknown = object.clone();
        unknown["keel"] = json!("long");
        let with = |query: &str| format!("{collection}?fieldManager=story&{query}");
        self.write("POST", &with("fieldValidation=Strict"), "json", &unknown)
            .await;
        self.write("POST", &with("dryRun=All"), "json", &object)
            .await;
        self.write("POST", &with("fieldValidation=Warn"), "json", &unknown)
            .await;
        self.settled(|answer, written| answer.text().contains(written))
            .await;
        self.write("POST", collection, "json", &object).await;
        self.read(&self.item(), "").await;
        let some = format!("{collection}?labelSelector=told%3Dyes");
        self.read(&some, "").await;
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        self.read(&some, table).await;
        let metadata = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        self.read(&self.item(), metadata).await;
        for path in [&self.item(), collection] {
            self.in_protobuf(path).await;
        }
        self.read(&format!("{collection}?fieldSelector=spec.keel%3Dlong"), "")
            .await;
    }

    /// In protobuf, the same is answered.
    async fn in_protobuf(&self, path: &str) {
        let accept = [("accept", PROTOBUF)];
        let answer = self.server.send("GET", path, &accept, "").await.is(200);
        let wanted = protobuf::without_inner_types(self.server.get(path).await.json());
        assert_eq!(protobuf::read(&answer.bytes), wanted, "{path}");
    }

    /// Waits until the server has done what it does about objects of some kinds by itself.
    async fn settled(&self, done: impl Fn(&Answer, &str) -> bool) {
        let mut followed = FOLLOWED.iter();
        let Some((_, written)) = followed.find(|(kind, _)| *kind == self.kind.kind) else {
            return;
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !done(&self.server.get(&self.item()).await, written) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} does not settle",
                self.item()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Every way to change it.
    async fn change(&mut self) {
        let item = self.item();
        let managed = format!("{item}?fieldManager=story");
        let stored = self.server.get(&item).await.is(200).json();
        self.write("PUT", &managed, "json", &stored).await;
        let mut stale = stored.clone();
        stale["metadata"]["resourceVersion"] = json!("1");
        self.write("PUT", &managed, "json", &stale).await;
        let mut other = stored.clone();
        other["metadata"]["name"] = json!("other");
        self.write("PUT", &managed, "json", &other).await;
        let json_patch =
            json!([{"op": "add", "path": "/metadata/labels/by", "value": "json-patch"}]);
        self.write("PATCH", &managed, "json-patch+json", &json_patch)
            .await;
        let failed = json!([{"op": "test", "path": "/metadata/labels/by", "value": "nobody"}]);
        self.write("PATCH", &managed, "json-patch+json", &failed)
            .await;
        let merge = json!({"metadata": {"labels": {"by": null}, "annotations": {"by": "merge"}}});
        self.write("PATCH", &managed, "merge-patch+json", &merge)
            .await;
        let strategic = json!({"metadata": {"finalizers": ["harbour.example/customs"]}});
        self.write("PATCH", &managed, "strategic-merge-patch+json", &strategic)
            .await;
        let delete = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["harbour.example/customs"]}});
        self.write("PATCH", &managed, "strategic-merge-patch+json", &delete)
            .await;
        let name = self.object["metadata"]["name"].clone();
        let mut applied = json!({
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.kind,
            "metadata": {"name": name, "annotations": {"by": "apply"}},
        });
        let apply = format!("{item}?fieldManager=applier");
        self.write("PATCH", &apply, "apply-patch+yaml", &applied)
            .await;
        let force = format!("{apply}&force=true");
        self.write("PATCH", &force, "apply-patch+yaml", &applied)
            .await;
        applied["metadata"]["annotations"] = json!({});
        self.write("PATCH", &apply, "apply-patch+yaml", &applied)
            .await;
        let wrong = json!({"metadata": {"labels": {"not a key": "x"}}});
        self.write("PATCH", &managed, "merge-patch+json", &wrong)
            .await;
    }

    /// Its status and its scale.
    async fn parts(&mut self) {
        for sub in ["status", "scale"] {
            if self.kind.subresource(sub).is_none() {
                continue;
            }
            let path = format!("{}/{sub}", self.item());
            self.read(&path, "").await;
            let stored = self.server.get(&path).await.is(200).json();
            let mut changed = stored.clone();
            changed["metadata"]["resourceVersion"] = Value::Null;
            if sub == "scale" {
                changed["spec"]["replicas"] = json!(5);
            }
            self.write("PUT", &path, "json", &changed).await;
            let label = json!({"metadata": {"labels": {"sub": sub}}});
            self.write("PATCH", &path, "merge-patch+json", &label).await;
        }
    }

    /// Deletion, and what a watch from its beginning told.
    async fn end(&mut self, collection: &str) {
        let item = self.item();
        let dry = json!({"dryRun": ["All"]});
        self.write("DELETE", &item, "json", &dry).await;
        let wrong = json!({"preconditions": {"uid": "another"}});
        self.write("DELETE", &item, "json", &wrong).await;
        let now = json!({"gracePeriodSeconds": 0});
        self.write("DELETE", &item, "json", &now).await;
        self.settled(|answer, _| answer.code == 404).await;
        self.read(&item, "").await;
        self.write("DELETE", &item, "json", &now).await;
        if self.kind.verbs == Verbs::All {
            let some = format!("{collection}?labelSelector=told%3Dyes");
            self.write("DELETE", &some, "json", &now).await;
        }
    }

    /// Notes what a watch tells of all that was done.
    async fn watched(&mut self) {
        if self.kind.verbs == Verbs::CreateOnly {
            return;
        }
        let path = format!("{}?watch=true&labelSelector=told", self.collection());
        let query = format!("{path}&timeoutSeconds=1&resourceVersion={}", self.since);
        let answer = self.server.get(&query).await;
        writeln!(self.out, "GET {path} -> {}", answer.code).unwrap();
        for line in answer.text().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let meta = &event["object"]["metadata"];
            writeln!(
                self.out,
                "  {} {} {} {}",
                event["type"].as_str().unwrap_or_default(),
                meta["name"],
                meta["labels"],
                meta["annotations"]
            )
            .unwrap();
        }
    }

    async fn write(&mut self, method: &str, path: &str, form: &str, body: &Value) {
        let media = format!("application/{form}");
        let answer = self
            .server
            .send(method, path, &[("content-type", &media)], body.to_string())
            .await;
        let form = form.split('+').next().unwrap_or_default();
        let title = match (method, form) {
            ("PATCH", form) => format!("PATCH {path} ({form})"),
            _ => format!("{method} {path}"),
        };
        self.note(&title, answer);
    }

    async fn read(&mut self, path: &str, accept: &str) {
        let headers = [("accept", accept)];
        let headers = if accept.is_empty() { &[][..] } else { &headers };
        let answer = self.server.send("GET", path, headers, "").await;
        let form = accept
            .split(';')
            .find_map(|part| part.strip_prefix("as="))
            .map(|form| format!(" ({form})"));
        self.note(&format!("GET {path}{}", form.unwrap_or_default()), answer);
    }

    /// Writes an answer down: all of it the first time, then what is other than in the answer before.
    fn note(&mut self, title: &str, answer: Answer) {
        let shown = ordered(&self.masks.masked(&answer.json(), "", ""));
        writeln!(self.out, "{title} -> {}", answer.code).unwrap();
        for warning in &answer.warnings {
            writeln!(self.out, "  Warning: {warning}").unwrap();
        }
        let is_object = shown["kind"] == self.kind.kind;
        if is_object && !self.last.is_null() {
            let same = differences(&self.last, &shown);
            if same.is_empty() {
                writeln!(self.out, "  as before").unwrap();
            }
            for line in same.iter().flat_map(|one| one.lines()) {
                writeln!(self.out, "  {}", line.trim_start()).unwrap();
            }
        } else {
            for line in serde_json::to_string_pretty(&shown).unwrap().lines() {
                writeln!(self.out, "  {line}").unwrap();
            }
        }
        if is_object {
            self.last = shown;
        }
    }
}
