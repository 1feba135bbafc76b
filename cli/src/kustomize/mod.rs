//! Kustomizations: objects from files, changed as a kustomization says.
//! Invariant: a field that is not supported is refused by name; nothing is built half.
//! Behaviour follows `sigs.k8s.io/kustomize/api`.

mod generate;
mod names;
mod transform;

use crate::error::{Error, Problem, Result, go_io};
use crate::resource::Manifest;
use crate::typed::Read;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::rc::Rc;
pub use transform::is_cluster_wide;

/// One object on its way, and the names it had before.
#[derive(Clone, Debug)]
pub struct Item {
    pub object: Value,
    /// The name in its file: references are found by it.
    pub original: String,
    /// Gets a hash of its data at the end of its name.
    pub hashed: bool,
    pub hash: String,
}

impl Item {
    fn new(object: Value) -> Item {
        let original = object.at("metadata").text("name").to_string();
        Item {
            object,
            original,
            hashed: false,
            hash: String::new(),
        }
    }
    fn kind(&self) -> &str {
        self.object.text("kind")
    }
}

const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The objects that the kustomization in a folder comes to, in the order in which they are applied.
///
/// # Errors
/// A folder without a kustomization, files that cannot be read, fields that are not supported.
pub fn manifests(dir: &str) -> Result<Vec<Result<Manifest>>> {
    let path = std::fs::canonicalize(dir).map_err(|e| {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| PathBuf::from(dir));
        Error::msg(format!("must build at directory: not a valid directory: evalsymlink failure on '{dir}' : lstat {}: {}", absolute.display(), go_io(&e)))
    })?;
    let mut items = build(&path)?;
    names::finish(&mut items);
    items.sort_by_key(|i| {
        (
            order(i.kind()),
            if order(i.kind()) == MIDDLE {
                sort_key(i)
            } else {
                String::new()
            },
        )
    });
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

fn order(kind: &str) -> usize {
    let first = FIRST.iter().position(|k| *k == kind);
    first
        .or_else(|| LAST.iter().position(|k| *k == kind).map(|i| MIDDLE + 1 + i))
        .unwrap_or(MIDDLE)
}

fn sort_key(i: &Item) -> String {
    let text = |v: &Value| v.as_str().unwrap_or("").to_string();
    format!(
        "{}_{}_{}_{}",
        text(i.object.at("apiVersion")),
        i.kind(),
        text(i.object.at("metadata").at("namespace")),
        text(i.object.at("metadata").at("name"))
    )
}

/// The fields that are understood.
const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "images",
    "replicas",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "sortOptions",
];

fn read(dir: &Path) -> Result<Map<String, Value>> {
    let found: Vec<PathBuf> = FILES
        .iter()
        .map(|f| dir.join(f))
        .filter(|p| p.is_file())
        .collect();
    let file = match found.as_slice() {
        [one] => one,
        [] => {
            return Err(Error::msg(format!(
                "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
                dir.display()
            )));
        }
        _ => {
            return Err(Error::msg(format!(
                "Found multiple kustomization files under: {}",
                dir.display()
            )));
        }
    };
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::msg(format!("{}: {}", file.display(), go_io(&e))))?;
    let documents =
        crate::yaml::read(&text).map_err(|e| Error::msg(format!("invalid Kustomization: {e}")))?;
    let Some(Value::Object(map)) = documents.into_iter().next().map(|d| d.value) else {
        return Err(Error::msg("kustomization.yaml is empty"));
    };
    if let Some(unknown) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(Error::msg(format!(
            "the field {unknown:?} of {} is not supported; build it with kustomize and pass the result with -f",
            file.display()
        )));
    }
    Ok(map)
}

/// Old fields that still work, with what to use instead.
fn warn_of_old(map: &Map<String, Value>) {
    for (old, new) in [
        ("bases", "resources"),
        ("commonLabels", "labels"),
        ("patchesJson6902", "patches"),
        ("patchesStrategicMerge", "patches"),
    ] {
        if map.contains_key(old) {
            eprintln!(
                "# Warning: '{old}' is deprecated. Please use '{new}' instead. Run 'kustomize edit fix' to update your Kustomization automatically."
            );
        }
    }
}

fn build(dir: &Path) -> Result<Vec<Item>> {
    let map = read(dir)?;
    warn_of_old(&map);
    let mut items = Vec::new();
    for field in ["resources", "bases"] {
        for entry in map
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            items.extend(resource(dir, entry)?);
        }
    }
    items.extend(generate::run(dir, &map)?);
    transform::run(dir, &map, &mut items)?;
    Ok(items)
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
    let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    if ANYWHERE.load(std::sync::atomic::Ordering::Relaxed)
        || real.starts_with(std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf()))
    {
        return Ok(path);
    }
    Err(format!(
        "security; file '{}' is not in or below '{}'",
        path.display(),
        dir.display()
    )
    .into())
}

fn resource(dir: &Path, entry: &str) -> Result<Vec<Item>> {
    if entry.contains("://") {
        return Err(Error::msg(format!(
            "the remote resource {entry:?} is not supported; fetch it first"
        )));
    }
    let path = dir.join(entry);
    let shown = path.display();
    let meta = std::fs::metadata(&path).map_err(|e| {
        let broken = format!("evalsymlink failure on '{shown}' : lstat {shown}: {}", go_io(&e));
        let tried = format!("accumulating resources from '{entry}': {broken}");
        Error::msg(format!("accumulating resources: accumulation err='{tried}': must build at directory: not a valid directory: {broken}"))
    })?;
    if meta.is_dir() {
        return build(&std::fs::canonicalize(&path)?);
    }
    let path = inside(dir, entry).map_err(|why| {
        let tried = format!("accumulating resources from '{entry}': {why}");
        let file = clean(&path);
        Error::msg(format!("accumulating resources: accumulation err='{tried}': must build at directory: '{}': file is not directory", file.display()))
    })?;
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Error::msg(format!("open {shown}: {}", go_io(&e))))?;
    let mut out = Vec::new();
    for m in crate::resource::files::documents(&shown.to_string(), &text) {
        let m = m.and_then(|m| crate::resource::files::decodes(&m).map(|()| m));
        out.extend(
            crate::resource::files::flatten(m?)
                .into_iter()
                .map(|m| Item::new(m.object)),
        );
    }
    Ok(out)
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
