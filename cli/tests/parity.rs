//! That a script written for kubectl cannot tell this program from it: command lines with what they print and what they leave behind, by verb, in
//! `testdata/parity/<verb>.yaml`.
//!
//! Invariant: a case has a namespace, a folder, a kubeconfig and a home of its own; its lines run one after the other on the objects of its `state`. What is
//! expected was written by the real kubectl. Where one of that version is on PATH, it is asked again about one case in four, beside a server of its own; where
//! `SKIFF_KUBECTL` names it, about all. `SKIFF_UPDATE=1` asks about all, too, and keeps what it said; `SKIFF_ONLY=label` runs a part.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Map, Value, json};
use skiff_api::machinery::yaml;

use crate::golden::{Server, copied};
use crate::support::{PROGRAM, on_path};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/parity");
/// The version whose words are kept.
const VERSION: &str = "v1.36.";
/// One case in so many is asked again: all of them would take CI some minutes.
const ASKED: usize = 4;
/// Cases that run at a time.
const AT_ONCE: usize = 6;
/// Where objects are looked for that lines leave behind: in the namespace, and by its name outside.
const INSIDE: &[&str] = &[
    "api/v1/configmaps",
    "api/v1/secrets",
    "api/v1/services",
    "api/v1/pods",
    "api/v1/serviceaccounts",
    "api/v1/replicationcontrollers",
    "api/v1/persistentvolumeclaims",
    "api/v1/resourcequotas",
    "apis/apps/v1/deployments",
    "apis/apps/v1/replicasets",
    "apis/apps/v1/statefulsets",
    "apis/apps/v1/daemonsets",
    "apis/apps/v1/controllerrevisions",
    "apis/batch/v1/jobs",
    "apis/batch/v1/cronjobs",
    "apis/autoscaling/v2/horizontalpodautoscalers",
    "apis/networking.k8s.io/v1/ingresses",
    "apis/policy/v1/poddisruptionbudgets",
    "apis/rbac.authorization.k8s.io/v1/roles",
    "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "apis/example.com/v1/widgets",
];
const OUTSIDE: &[&str] = &[
    "api/v1/nodes",
    "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "apis/scheduling.k8s.io/v1/priorityclasses",
    "apis/example.com/v1/gears",
];

/// One case of a file.
#[derive(Clone)]
struct Case {
    name: String,
    state: Vec<String>,
    lines: Vec<Line>,
}

/// A command line, and what is to come of it.
#[derive(Clone, PartialEq)]
struct Line {
    run: String,
    said: Said,
}

#[derive(Clone, PartialEq, Default)]
struct Said {
    out: String,
    err: String,
    code: i64,
    /// Objects that are there now and were another before, or are gone.
    objects: BTreeMap<String, Value>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_can_tell_the_programs_apart() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = Side::start(folder.path(), PROGRAM).await;
    let theirs = match real_kubectl() {
        Some(program) => Some(Side::start(other.path(), &program).await),
        None => None,
    };
    let update = std::env::var_os("SKIFF_UPDATE").is_some();
    let all = update || std::env::var_os("SKIFF_KUBECTL").is_some();
    match (&theirs, all) {
        (None, _) => {
            eprintln!("what the real kubectl said before is compared with: none is on PATH")
        }
        (Some(_), true) => eprintln!("the real kubectl is asked about every case"),
        (Some(_), false) => eprintln!("the real kubectl is asked about one case in {ASKED}"),
    }
    let mut files = files();
    let work: Vec<Case> = files.iter().flat_map(|(_, cases)| cases.clone()).collect();
    let (next, told) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let wrong = Mutex::new(Vec::new());
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = work.get(at) else { break };
                        let mut wanted: Vec<Said> =
                            case.lines.iter().map(|l| l.said.clone()).collect();
                        let asked = all || at % ASKED == 0;
                        if let Some(theirs) = theirs.as_ref().filter(|_| asked) {
                            let said = theirs.run(case, &handle);
                            if update {
                                told.lock().unwrap().insert(case.name.clone(), said.clone());
                            }
                            wanted = said;
                        }
                        let got = ours.run(case, &handle);
                        let differences = case.lines.iter().zip(wanted).zip(got);
                        let differences = differences.filter_map(|((line, wanted), got)| {
                            difference(case, line, &wanted, &got)
                        });
                        wrong.lock().unwrap().extend(differences);
                    }
                });
            }
        })
    });
    for side in [Some(ours), theirs].into_iter().flatten() {
        side.running.stop().await;
    }
    let told = told.into_inner().unwrap();
    if !told.is_empty() {
        keep(&mut files, &told);
    }
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let lines: usize = work.iter().map(|case| case.lines.len()).sum();
    assert!(
        wrong.is_empty(),
        "{} of {lines} lines differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn there_are_lines_of_every_verb_that_writes() {
    let all = files();
    let lines: usize = all
        .iter()
        .flat_map(|(_, cases)| cases)
        .map(|c| c.lines.len())
        .sum();
    assert!(
        lines >= 600 || std::env::var_os("SKIFF_ONLY").is_some(),
        "{lines}"
    );
    let text: String = all
        .iter()
        .flat_map(|(_, cases)| cases)
        .flat_map(|case| &case.lines)
        .map(|line| line.run.clone() + "\n")
        .collect();
    for verb in [
        "create",
        "run",
        "expose",
        "set",
        "apply",
        "patch",
        "replace",
        "delete",
        "edit",
        "label",
        "annotate",
        "scale",
        "autoscale",
        "rollout",
        "diff",
        "kustomize",
        "taint",
        "cordon",
        "uncordon",
        "drain",
    ] {
        let count = text.matches(&format!("kubectl {verb} ")).count();
        assert!(
            count >= 5 || std::env::var_os("SKIFF_ONLY").is_some(),
            "{verb}: {count}"
        );
    }
}

/// The real kubectl of the version whose words are kept.
fn real_kubectl() -> Option<String> {
    let named = std::env::var("SKIFF_KUBECTL").ok();
    let program = named.or_else(|| Some(on_path("kubectl")?.display().to_string()))?;
    let output = Command::new(&program)
        .args(["version", "--client", "-o", "json"])
        .output()
        .ok()?;
    let version: Value = serde_json::from_slice(&output.stdout).ok()?;
    let version = version["clientVersion"]["gitVersion"].as_str()?.to_string();
    (version.starts_with(VERSION) && !version.contains("skiff")).then_some(program)
}

/// The files with their cases.
fn files() -> Vec<(PathBuf, Vec<Case>)> {
    let only = std::env::var("SKIFF_ONLY").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .filter(|path| {
            path.file_stem()
                .unwrap()
                .to_string_lossy()
                .starts_with(&only)
        })
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), cases(&path)))
        .collect()
}

fn cases(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let value = yaml::read(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let verb = path.file_stem().unwrap().to_string_lossy().into_owned();
    let list = value[0].value.as_array().unwrap().clone();
    list.iter()
        .enumerate()
        .map(|(at, case)| Case {
            name: format!("{verb}-{at:02}"),
            state: texts(&case["state"]),
            lines: case["lines"].as_array().unwrap().iter().map(line).collect(),
        })
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap().into()).collect()
}

fn line(value: &Value) -> Line {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_string();
    let objects = value["objects"].as_object().cloned().unwrap_or_default();
    Line {
        run: text("run"),
        said: Said {
            out: text("out"),
            err: text("err"),
            code: value["code"].as_i64().unwrap_or(0),
            objects: objects.into_iter().collect(),
        },
    }
}

/// Writes what the real kubectl said into the files.
fn keep(files: &mut [(PathBuf, Vec<Case>)], told: &BTreeMap<String, Vec<Said>>) {
    for (path, cases) in files {
        let list: Vec<Value> = cases
            .iter()
            .map(|case| {
                let said = told.get(&case.name).cloned().unwrap_or_default();
                let lines: Vec<Value> = case
                    .lines
                    .iter()
                    .zip(said)
                    .map(|(line, said)| told_line(&line.run, said))
                    .collect();
                json!({"state": case.state, "lines": lines})
            })
            .collect();
        std::fs::write(path, yaml::write(&Value::Array(list))).unwrap();
    }
}

fn told_line(run: &str, said: Said) -> Value {
    let mut line = json!({"run": run});
    for (field, text) in [("out", said.out), ("err", said.err)] {
        if !text.is_empty() {
            line[field] = json!(text);
        }
    }
    if said.code != 0 {
        line["code"] = json!(said.code);
    }
    if !said.objects.is_empty() {
        line["objects"] = json!(said.objects);
    }
    line
}

/// What of a line is another; nothing if it is alike.
fn difference(case: &Case, line: &Line, wanted: &Said, got: &Said) -> Option<String> {
    let mut out = format!("{}: {}", case.name, line.run);
    let begin = out.len();
    for (what, wanted, got) in [
        ("out", &wanted.out, &got.out),
        ("err", &wanted.err, &got.err),
    ] {
        if wanted == got {
            continue;
        }
        let mut pairs = (wanted.lines(), got.lines());
        let (wanted, got) = loop {
            let pair = (pairs.0.next(), pairs.1.next());
            if pair.0 != pair.1 || pair.0.is_none() {
                break pair;
            }
        };
        out += &format!("\n  {what} wanted: {wanted:?}\n  {what} got:    {got:?}");
    }
    if wanted.code != got.code {
        out += &format!("\n  status wanted {}, got {}", wanted.code, got.code);
    }
    let names = wanted.objects.keys().chain(got.objects.keys());
    if let Some(name) = names
        .into_iter()
        .find(|name| wanted.objects.get(*name) != got.objects.get(*name))
    {
        let shown = |said: &Said| {
            said.objects
                .get(name)
                .map_or("no change".into(), Value::to_string)
        };
        out += &format!(
            "\n  {name} wanted: {}\n  {name} got:    {}",
            shown(wanted),
            shown(got)
        );
    }
    (out.len() > begin).then_some(out)
}

/// A server, a program beside it, and a way to look at objects.
struct Side {
    server: Server,
    running: skiff_server::Running,
    client: kube::Client,
}

impl Side {
    async fn start(folder: &Path, program: &str) -> Side {
        let (server, running) = Server::start(folder, program).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = kube::config::Kubeconfig::from_yaml(&server.kubeconfig("default")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let side = Side {
            server,
            running,
            client,
        };
        for definition in documents(&format!("{FOLDER}/state/definitions.yaml"), "") {
            side.post(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                &definition,
            )
            .await;
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while side.get("/apis/example.com/v1/gears").await.is_none() {
            assert!(
                std::time::Instant::now() < deadline,
                "the custom kinds are not served"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        side
    }

    async fn post(&self, path: &str, object: &Value) -> Value {
        let request = http::Request::post(path).header("Content-Type", "application/json");
        let request = request.body(object.to_string().into_bytes()).unwrap();
        let made: Result<Value, _> = self.client.request(request).await;
        made.unwrap_or_else(|why| panic!("{path}: {why}\n{object}"))
    }

    async fn put(&self, path: &str, object: &Value) {
        let request = http::Request::put(path).header("Content-Type", "application/json");
        let request = request.body(object.to_string().into_bytes()).unwrap();
        let made: Result<Value, _> = self.client.request(request).await;
        made.unwrap_or_else(|why| panic!("{path}: {why}"));
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.client
            .request(http::Request::get(path).body(vec![]).unwrap())
            .await
            .ok()
    }

    /// Runs a case's lines; what each said and did.
    fn run(&self, case: &Case, handle: &tokio::runtime::Handle) -> Vec<Said> {
        let home = self.server.folder.join(&case.name);
        let work = home.join("work");
        std::fs::create_dir(&home).unwrap();
        copied(&Path::new(FOLDER).join("files"), &work);
        std::fs::write(home.join("config"), self.server.kubeconfig(&case.name)).unwrap();
        handle.block_on(self.set_up(case));
        let mut before = handle.block_on(self.objects(&case.name, &home));
        let mut all = Vec::new();
        for line in &case.lines {
            let done = self.server.shell(&home, &case.name, &line.run);
            let text = |bytes: &[u8]| {
                let text = self.server.shown(&home, &String::from_utf8_lossy(bytes));
                text.strip_suffix("<no newline>\n")
                    .map_or(text.clone(), String::from)
            };
            let after = handle.block_on(self.objects(&case.name, &home));
            all.push(Said {
                out: text(&done.stdout),
                err: text(&done.stderr),
                code: done.status.code().unwrap_or(-1).into(),
                objects: changes(&before, &after),
            });
            before = after;
        }
        all
    }

    async fn set_up(&self, case: &Case) {
        let namespace = &case.name;
        self.post(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": namespace}}),
        )
        .await;
        let account =
            json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
        self.post(
            &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            &account,
        )
        .await;
        let mut uids = BTreeMap::new();
        for file in &case.state {
            for mut object in documents(&format!("{FOLDER}/state/{file}.yaml"), namespace) {
                for owner in object["metadata"]["ownerReferences"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                {
                    owner["uid"] =
                        json!(uids[&(owner["kind"].to_string(), owner["name"].to_string())]);
                }
                let path = collection(&object, namespace);
                let made = self.post(&path, &object).await;
                let name = object["metadata"]["name"].clone();
                uids.insert(
                    (object["kind"].to_string(), name.to_string()),
                    made["metadata"]["uid"].as_str().unwrap().to_string(),
                );
                if !object["status"].is_null() {
                    object["metadata"] = made["metadata"].clone();
                    let path = format!("{path}/{}/status", name.as_str().unwrap());
                    self.put(&path, &object).await;
                }
            }
        }
    }

    /// The objects of a case, masked.
    async fn objects(&self, namespace: &str, home: &Path) -> BTreeMap<String, Value> {
        let mut out = BTreeMap::new();
        let inside = INSIDE.iter().map(|path| {
            let (api, plural) = path.rsplit_once('/').unwrap();
            (format!("/{api}/namespaces/{namespace}/{plural}"), plural)
        });
        let outside = OUTSIDE
            .iter()
            .map(|path| (format!("/{path}"), path.rsplit_once('/').unwrap().1));
        for (path, plural) in inside.chain(outside) {
            let list = self
                .get(&path)
                .await
                .unwrap_or_else(|| panic!("{path} cannot be listed"));
            for object in list["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().unwrap();
                if path.contains("/namespaces/") || name.contains(namespace) {
                    let masked = self.server.shown(home, &format!("{}\n", bare(object)));
                    out.insert(
                        format!("{plural}/{}", generated(name)),
                        masked_object(&masked),
                    );
                }
            }
        }
        out
    }
}

/// An object whose numbers may be masked, too: then it is kept as its text.
fn masked_object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text.trim_end()))
}

/// A generated name without what is random in it.
fn generated(name: &str) -> String {
    match name.strip_prefix("gen-") {
        Some(_) => "gen-<random>".into(),
        None => name.into(),
    }
}

/// An object without what differs from run to run; of managed fields, who manages.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata.remove(field);
    }
    if let Some(name) = metadata.get_mut("name") {
        *name = json!(generated(name.as_str().unwrap()));
    }
    let mut managers: Vec<String> = metadata
        .get("managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            format!(
                "{} {} {}",
                text("manager"),
                text("operation"),
                text("subresource")
            )
            .trim()
            .to_string()
        })
        .collect();
    // Entries of one second stand in no certain order.
    managers.sort();
    metadata.insert("managedFields".into(), json!(managers));
    for owner in object["metadata"]["ownerReferences"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        owner.as_object_mut().unwrap().remove("uid");
    }
    object
}

/// What is another now: of objects that were there, the fields that changed.
fn changes(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (name, now) in after {
        match before.get(name) {
            Some(then) if then == now => {}
            Some(then) => drop(out.insert(name.clone(), changed(then, now))),
            None => drop(out.insert(name.clone(), now.clone())),
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        out.insert(name.clone(), json!("gone"));
    }
    out
}

fn changed(then: &Value, now: &Value) -> Value {
    let (Some(then), Some(now)) = (then.as_object(), now.as_object()) else {
        return now.clone();
    };
    let mut out = Map::new();
    for (name, value) in now {
        match then.get(name) {
            Some(old) if old == value => {}
            Some(old) => drop(out.insert(name.clone(), changed(old, value))),
            None => drop(out.insert(name.clone(), value.clone())),
        }
    }
    for name in then.keys().filter(|name| !now.contains_key(*name)) {
        out.insert(name.clone(), Value::Null);
    }
    Value::Object(out)
}

fn documents(path: &str, namespace: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path)
        .unwrap()
        .replace("$CASE", namespace);
    yaml::read(&text)
        .unwrap()
        .into_iter()
        .map(|d| d.value)
        .collect()
}

/// Where objects of this kind are made.
fn collection(object: &Value, namespace: &str) -> String {
    let (version, kind) = (
        object["apiVersion"].as_str().unwrap(),
        object["kind"].as_str().unwrap(),
    );
    let plural = match kind {
        "Ingress" => "ingresses".into(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let api = if version.contains('/') { "apis" } else { "api" };
    match OUTSIDE
        .iter()
        .any(|path| path.ends_with(&format!("/{plural}")))
    {
        true => format!("/{api}/{version}/{plural}"),
        false => format!("/{api}/{version}/namespaces/{namespace}/{plural}"),
    }
}
