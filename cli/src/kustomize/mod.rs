//! Kustomizations: objects from files, changed as a kustomization says.
//! Invariant: a field that is not supported is refused by name; nothing is built half.
//! Behaviour follows `sigs.k8s.io/kustomize/api`.

mod builtin;
mod fields;
mod generate;
mod item;
mod load;
mod names;
mod operations;
mod patches;
mod plugins;
mod replace;
mod schema;
mod scope;
mod specs;
mod strategic;
mod target;
mod transform;
mod vars;

use crate::error::{Error, Problem, Result, go_io, message};
use crate::resource::Manifest;
use crate::typed::Read;
use item::Item;
pub use scope::is_cluster_wide;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use target::Target;

/// What `managedByLabel` tells: kubectl is built without a version of it.
const BUILDER: &str = "kustomize-(devel)";

/// The objects that the kustomization in a folder comes to, in the order in which they are applied.
///
/// # Errors
/// A folder without a kustomization, files that cannot be read, fields that are not supported.
pub fn manifests(dir: &str) -> Result<Vec<Result<Manifest>>> {
    ordered(dir, true)
}

/// The same; where the kustomization does not say how they are ordered, they stand as they came unless this one `sorts`.
///
/// # Errors
/// As `manifests`.
pub fn ordered(dir: &str, sorts: bool) -> Result<Vec<Result<Manifest>>> {
    let target = Target::first(&folder(Path::new(dir))?)?;
    let mut all = target.gather(target::Gathered::default())?;
    names::hash(&mut all.items);
    names::refer(&mut all.items, &all.config)?;
    vars::resolve(&mut all)?;
    let mut items = all.items;
    items.retain(|item| !is_local(&item.object));
    items.iter().try_for_each(Item::named)?;
    let options = target.map.get("sortOptions");
    if sorts || options.is_some() {
        sort(&mut items, options)?;
    }
    if target.tells("managedByLabel") {
        let mut label = Map::new();
        label.insert("app.kubernetes.io/managed-by".into(), json!(BUILDER));
        transform::marks(Some(&label), &[transform::metadata_labels()], &mut items)?;
    }
    if target.tells("originAnnotations") {
        for item in items.iter_mut() {
            item.object["metadata"]["annotations"]["config.kubernetes.io/origin"] =
                json!(item.origin);
        }
    }
    Ok(items
        .into_iter()
        .map(|i| {
            Ok(Manifest {
                source: dir.into(),
                object: i.object,
                lines: Rc::default(),
            })
        })
        .collect())
}

/// Whether an object is only there for the build.
fn is_local(object: &Value) -> bool {
    let annotations = object.at("metadata").at("annotations");
    let local = annotations.some("config.kubernetes.io/local-config");
    local.is_some_and(|value| *value != "false")
}

/// Puts objects in order: by kind, unless the kustomization says otherwise.
fn sort(items: &mut [Item], options: Option<&Value>) -> Result<()> {
    let options = options.filter(|options| options.is_object());
    let order = options.map_or("", |options| options.text("order"));
    match (options, order) {
        (None, _) | (Some(_), "fifo" | "legacy") => {}
        (Some(_), _) => {
            return Err(Error::msg(
                "the field 'sortOptions.order' must be one of [fifo, legacy]",
            ));
        }
    }
    let legacy = options.and_then(|options| options.some("legacySortOptions"));
    if order == "fifo" && legacy.is_some() {
        return Err(Error::msg(
            "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'",
        ));
    }
    if order == "fifo" {
        return Ok(());
    }
    let list = |field: &str| -> Option<Vec<String>> {
        let given = legacy?.some(field)?;
        let texts = given.as_array()?.iter().filter_map(Value::as_str);
        Some(texts.map(String::from).collect())
    };
    let known = |list: &[&str]| list.iter().map(|kind| kind.to_string()).collect();
    let first: Vec<String> = list("orderFirst").unwrap_or_else(|| known(FIRST));
    let last: Vec<String> = list("orderLast").unwrap_or_else(|| known(LAST));
    let rank = |kind: &str| {
        let in_first = first.iter().position(|k| *k == kind);
        let in_last = || last.iter().position(|k| *k == kind);
        in_first
            .or_else(|| in_last().map(|at| MIDDLE + 1 + at))
            .unwrap_or(MIDDLE)
    };
    items.sort_by_cached_key(|item| (rank(item.kind()), sort_key(item)));
    Ok(())
}

const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: &[&str] = &[
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
const MIDDLE: usize = 1000;

/// How objects of one kind are ordered, and those of kinds of which nothing is said.
fn sort_key(item: &Item) -> [String; 5] {
    let id = item.id();
    let or = |text: String, none: &str| if text.is_empty() { none.into() } else { text };
    [
        or(id.group, "~G"),
        or(id.version, "~V"),
        or(id.kind, "~K"),
        or(id.namespace, "~X"),
        or(id.name, "~N"),
    ]
}

/// The part of a path that is not there, which is all that its walk comes to.
fn first_absent(path: &Path) -> PathBuf {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    let absent = above.into_iter().find(|part| !part.exists());
    absent.unwrap_or(path).components().collect()
}

/// The folder of a kustomization, without links.
///
/// # Errors
/// Nothing is there, or no folder.
fn folder(dir: &Path) -> Result<PathBuf> {
    let shown = dir.display();
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let path = std::fs::canonicalize(dir).map_err(|e| {
        let asked = first_absent(&if dir.is_absolute() { clean(dir) } else { absolute.clone() });
        message!("must build at directory: not a valid directory: evalsymlink failure on '{}' : lstat {}: {}", if dir.is_absolute() { clean(dir).display().to_string() } else { shown.to_string() }, asked.display(), go_io(&e))
    })?;
    if path.is_dir() {
        return Ok(path);
    }
    Err(message!(
        "must build at directory: '{}': file is not directory",
        if dir.is_absolute() {
            clean(dir).display().to_string()
        } else {
            shown.to_string()
        }
    ))
}

/// The text of a file.
///
/// # Errors
/// One that cannot be read, or that is no text.
fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| message!("open {}: {}", file.display(), go_io(&e)))
}

/// Whether files may be anywhere, and not only in the kustomization's folder and below.
static ANYWHERE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Lets kustomizations name files outside of their folders from now on.
pub fn let_anywhere() {
    ANYWHERE.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// A path without `.` and `..`, by its words alone.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The file that a kustomization in `dir` names: in that folder or below, wherever links lead.
fn inside(dir: &Path, name: &str) -> Result<PathBuf, Problem> {
    let path = clean(&dir.join(name));
    let shown = path.display();
    let real = std::fs::canonicalize(&path).map_err(|e| {
        Problem(format!(
            "evalsymlink failure on '{shown}' : lstat {shown}: {}",
            go_io(&e)
        ))
    })?;
    if real.is_dir() {
        return Err(format!("'{shown}' must resolve to a file").into());
    }
    if ANYWHERE.load(std::sync::atomic::Ordering::Relaxed)
        || real.starts_with(std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf()))
    {
        return Ok(path);
    }
    Err(format!(
        "security; file '{shown}' is not in or below '{}'",
        dir.display()
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(root.join("k")).unwrap();
        std::fs::write(
            root.join("a.yaml"),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
        )
        .unwrap();
        std::os::unix::fs::symlink("../a.yaml", root.join("k/link.yaml")).unwrap();
        let why = |file: &str| {
            format!(
                "security; file '{}/{file}' is not in or below '{}/k'",
                root.display(),
                root.display()
            )
        };
        for (kustomization, want) in [
            (
                "resources: [../a.yaml]",
                format!(
                    "accumulation err='accumulating resources from '../a.yaml': {}': must build at directory: '{}/a.yaml': file is not directory",
                    why("a.yaml"),
                    root.display()
                ),
            ),
            ("resources: [link.yaml]", why("k/link.yaml")),
            (
                "configMapGenerator: [{name: x, files: [../a.yaml]}]",
                format!(
                    "loading KV pairs: file sources: [../a.yaml]: {}",
                    why("a.yaml")
                ),
            ),
            (
                "configMapGenerator: [{name: x, envs: [../a.yaml]}]",
                format!(
                    "loading KV pairs: env source files: [../a.yaml]: {}",
                    why("a.yaml")
                ),
            ),
            (
                "patches: [{path: ../a.yaml}]",
                format!(
                    "failed to get the patch file from path(../a.yaml): {}",
                    why("a.yaml")
                ),
            ),
        ] {
            std::fs::write(root.join("k/kustomization.yaml"), kustomization).unwrap();
            let said = manifests(&root.join("k").to_string_lossy())
                .err()
                .unwrap()
                .to_string();
            assert!(said.contains(&want), "{said}\n{want}");
        }
    }

    fn built(files: &[(&str, &str)], at: &str) -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        manifests(&dir.path().join(at).display().to_string())
            .unwrap()
            .into_iter()
            .map(|m| m.unwrap().object)
            .collect()
    }

    #[test]
    fn overlays_change_bases() {
        let deploy = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: shop}}\n  template:\n    metadata: {labels: {app: shop}}\n    spec:\n      containers:\n      - {name: front, image: 'shop:1', envFrom: [{configMapRef: {name: conf}}]}\n";
        let out = built(
            &[
                ("base/deploy.yaml", deploy),
                (
                    "base/kustomization.yaml",
                    "resources: [deploy.yaml]\ncommonLabels: {team: sea}\nconfigMapGenerator:\n- name: conf\n  literals: [a=1]\n",
                ),
                (
                    "over/kustomization.yaml",
                    "namePrefix: dev-\nnamespace: ns\nresources: [../base]\nimages:\n- {name: shop, newTag: '9'}\nreplicas:\n- {name: shop, count: 7}\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: /metadata/annotations, value: {patched: 'yes'}}\n",
                ),
            ],
            "over",
        );
        assert_eq!(out[0]["metadata"]["name"], "dev-conf-h29d89cmmt");
        let d = &out[1];
        assert_eq!(d["metadata"]["name"], "dev-shop");
        assert_eq!(d["metadata"]["namespace"], "ns");
        assert_eq!(d["metadata"]["annotations"]["patched"], "yes");
        assert_eq!(d["spec"]["replicas"], 7);
        assert_eq!(d["spec"]["selector"]["matchLabels"]["team"], "sea");
        let c = &d["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            (
                c["image"].as_str(),
                c["envFrom"][0]["configMapRef"]["name"].as_str()
            ),
            (Some("shop:9"), Some("dev-conf-h29d89cmmt"))
        );
    }
}
