//! One kustomization file, and the objects that it and those below it come to.
//! Invariant: a field that is not supported is refused by name; nothing is built half.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/target/kusttarget.go`.

use super::item::{Behavior, Item, append};
use super::specs::Config;
use super::vars::{self, Variable};
use super::{generate, patches, replace, schema, transform};
use crate::error::{Error, Result, bail, go_io, message};
use crate::typed::Read;
use serde_json::{Map, Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::path::{Path, PathBuf};

/// What was gathered.
#[derive(Default)]
pub struct Gathered {
    pub items: Vec<Item>,
    pub config: Config,
    pub variables: Vec<Variable>,
}

/// A kustomization that was read.
pub struct Target {
    pub dir: PathBuf,
    /// The folders on the way to it, the first one's first.
    parents: Vec<PathBuf>,
    pub map: Map<String, Value>,
    file: String,
    /// Its folder as told in origins, from the first kustomization's.
    origin: String,
    /// What the first kustomization wants to be told of.
    metadata: Vec<String>,
}

const COMPONENT: &str = "Component";

impl Target {
    /// Reads the kustomization of a folder.
    ///
    /// # Errors
    /// None there, several, or one that cannot be read.
    pub fn first(dir: &Path) -> Result<Target> {
        let mut target = Target {
            dir: dir.into(),
            parents: Vec::new(),
            map: Map::new(),
            file: String::new(),
            origin: String::new(),
            metadata: Vec::new(),
        };
        target.load()?;
        target.metadata = target.texts("buildMetadata");
        if let Some(unknown) = target
            .metadata
            .iter()
            .find(|option| !["originAnnotations", "managedByLabel"].contains(&option.as_str()))
        {
            bail!(
                "the buildMetadata option {unknown} is not supported",
                unknown = GoQuoted(&unknown)
            );
        }
        Ok(target)
    }

    fn below(&self, path: &str) -> Result<Target> {
        let asked = self.dir.join(path);
        let dir = super::folder(&asked)?;
        let mut parents = self.parents.clone();
        parents.push(self.dir.clone());
        for visited in parents.iter().rev() {
            if visited.starts_with(&dir) {
                bail!(
                    "cycle detected: candidate root '{}' contains visited root '{}'",
                    dir.display(),
                    visited.display()
                );
            }
        }
        Ok(Target {
            dir,
            parents,
            map: Map::new(),
            file: String::new(),
            origin: join(&self.origin, path),
            metadata: self.metadata.clone(),
        })
    }

    fn load(&mut self) -> Result<()> {
        let (map, file) = read(&self.dir)?;
        self.map = map;
        self.file = file;
        warn_of_old(&self.map);
        let moved = |map: &mut Map<String, Value>, old: &str, new: &str| {
            if let Some(Value::Array(more)) = map.remove(old) {
                let list = map.entry(new).or_insert_with(|| json!([]));
                if list.is_null() {
                    *list = json!([]);
                }
                list.as_array_mut()
                    .into_iter()
                    .for_each(|l| l.extend(more.clone()));
            }
        };
        moved(&mut self.map, "bases", "resources");
        moved(&mut self.map, "imageTags", "images");
        self.check()
    }

    fn check(&self) -> Result<()> {
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        let mut fields = self.map.iter();
        if fields.all(|(name, value)| name == "apiVersion" || name == "kind" || empty(value)) {
            bail!("kustomization.yaml is empty");
        }
        let mut wrong = Vec::new();
        let given = |field: &str| self.text(field);
        let kind = match given("kind") {
            "" => "Kustomization",
            kind => kind,
        };
        if kind != "Kustomization" && kind != COMPONENT {
            wrong.push("kind should be Kustomization or Component".to_string());
        }
        let version = match kind {
            COMPONENT => "kustomize.config.k8s.io/v1alpha1",
            _ => "kustomize.config.k8s.io/v1beta1",
        };
        if !matches!(given("apiVersion"), v if v.is_empty() || v == version) {
            wrong.push(format!("apiVersion for {kind} should be {version}"));
        }
        if !wrong.is_empty() {
            bail!(
                "Failed to read kustomization file under {}:\n{}",
                self.dir.display(),
                wrong.join("\n")
            );
        }
        self.refuse()
    }

    /// What is not supported is refused by name.
    fn refuse(&self) -> Result<()> {
        let charts = ["helmCharts", "helmChartInflationGenerator"];
        if charts.iter().any(|field| !self.list(field).is_empty()) {
            bail!(
                "trouble configuring builtin HelmChartInflationGenerator with config: `\n{}`: must specify --enable-helm",
                self.charts()
            );
        }
        let openapi = self.map.get("openapi").and_then(|o| o.text_ptr("path"));
        let unsupported = [
            ("crds", !self.list("crds").is_empty()),
            ("openapi", openapi.is_some()),
        ];
        match unsupported.iter().find(|(_, given)| *given) {
            Some((field, _)) => bail!(
                "the field {field} of {}/{} is not supported; build it with kustomize and pass the result with -f",
                self.dir.display(),
                self.file,
                field = GoQuoted(&field)
            ),
            None => Ok(()),
        }
    }

    fn charts(&self) -> String {
        let first = self.list("helmCharts").first().cloned().unwrap_or_default();
        crate::yaml::write(&first)
    }

    pub fn text(&self, field: &str) -> &str {
        self.map.get(field).and_then(Value::as_str).unwrap_or("")
    }

    pub fn list(&self, field: &str) -> &[Value] {
        let list = self.map.get(field).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    pub fn texts(&self, field: &str) -> Vec<String> {
        let texts = self.list(field).iter().filter_map(Value::as_str);
        texts.map(String::from).collect()
    }

    pub fn tells(&self, option: &str) -> bool {
        self.metadata.iter().any(|known| known == option)
    }

    /// Gathers what it and those below it come to. A component goes on with what its parent has gathered.
    ///
    /// # Errors
    /// Whatever cannot be read or done.
    pub fn gather(&self, mut all: Gathered) -> Result<Gathered> {
        for path in self.texts("resources") {
            self.resource(&path, &mut all)
                .map_err(|why| message!("accumulating resources: {why}"))?;
        }
        let mut config = Config::builtin();
        for path in self.texts("configurations") {
            for document in self.documents(&path)? {
                config.add(&document);
            }
        }
        all.config.merge(config);
        self.generate(&mut all)?;
        for path in self.texts("components") {
            all = self
                .component(&path, all)
                .map_err(|why| message!("accumulating components: {why}"))?;
        }
        self.transform(&mut all)?;
        vars::merge(self.list("vars"), &mut all)?;
        Ok(all)
    }

    fn generate(&self, all: &mut Gathered) -> Result<()> {
        let origin = |kind: &str| {
            format!(
                "configuredIn: {}\nconfiguredBy:\n  apiVersion: builtin\n  kind: {kind}\n",
                join(&self.origin, &self.file)
            )
        };
        let general = self.map.get("generatorOptions").unwrap_or(&Value::Null);
        for (field, kind) in [
            ("configMapGenerator", "ConfigMap"),
            ("secretGenerator", "Secret"),
        ] {
            for entry in self.list(field) {
                let mut item = generate::one(&self.dir, entry, kind, general)?;
                item.origin = origin(&format!("{kind}Generator"));
                absorb(&mut all.items, item)?;
            }
        }
        let plugins = self
            .plugins("generators")
            .map_err(|why| message!("loading generator plugins: {why}"))?;
        for entry in plugins {
            let kind = match entry.text("kind") {
                "ConfigMapGenerator" => "ConfigMap",
                "SecretGenerator" => "Secret",
                other => bail!(
                    "generators of the kind {other} are not supported",
                    other = GoQuoted(&other)
                ),
            };
            let mut args = entry.clone();
            args["name"] = entry.at("metadata").at("name").clone();
            args["namespace"] = entry.at("metadata").at("namespace").clone();
            let mut item = generate::one(&self.dir, &args, kind, &Value::Null)?;
            item.origin = origin(entry.text("kind"));
            absorb(&mut all.items, item)?;
        }
        Ok(())
    }

    fn transform(&self, all: &mut Gathered) -> Result<()> {
        patches::strategic(
            &self.dir,
            self.list("patchesStrategicMerge"),
            &mut all.items,
        )?;
        patches::all(&self.dir, self.list("patches"), &mut all.items)?;
        transform::run(self, all)?;
        patches::json(&self.dir, self.list("patchesJson6902"), &mut all.items)?;
        transform::run_late(self, all)?;
        replace::run(&self.dir, self.list("replacements"), &mut all.items)?;
        for plugin in self.plugins("transformers")? {
            transform::plugin(&self.dir, &plugin, all)?;
        }
        match self.texts("validators").first() {
            Some(path) => bail!(
                "the validator {path} is not supported",
                path = GoQuoted(&path)
            ),
            None => Ok(()),
        }
    }

    /// The configurations of generators or transformers: inline, in files, or what kustomizations come to.
    fn plugins(&self, field: &str) -> Result<Vec<Value>> {
        let mut out = Vec::new();
        for entry in self.texts(field) {
            if entry.contains('\n') {
                let documents =
                    crate::yaml::read(&entry).map_err(|why| Error::msg(why.to_string()))?;
                out.extend(
                    documents
                        .into_iter()
                        .map(|d| d.value)
                        .filter(Value::is_object),
                );
                continue;
            }
            let mut found = Gathered::default();
            self.resource(&entry, &mut found)?;
            out.extend(found.items.into_iter().map(|item| item.object));
        }
        match out.iter().find(|o| o.text("apiVersion") != "builtin") {
            Some(other) => bail!(
                "external plugins disabled; unable to load external plugin '{}'",
                other.text("kind")
            ),
            None => Ok(out),
        }
    }

    /// The documents of a file that it names.
    fn documents(&self, path: &str) -> Result<Vec<Value>> {
        let file = super::inside(&self.dir, path).map_err(|why| Error::msg(why.to_string()))?;
        let text = super::text(&file)?;
        let documents = crate::yaml::read(&text).map_err(|why| Error::msg(why.to_string()))?;
        Ok(documents.into_iter().map(|d| d.value).collect())
    }

    /// One entry of `resources`: a file, or the folder of another kustomization.
    fn resource(&self, entry: &str, all: &mut Gathered) -> Result<()> {
        if entry.contains("://") {
            bail!(
                "the remote resource {entry} is not supported; fetch it first",
                entry = GoQuoted(&entry)
            );
        }
        let failed = match super::inside(&self.dir, entry)
            .map_err(|why| Error::msg(why.to_string()))
        {
            Ok(file) => match super::text(&file).and_then(|text| objects(&file, &text)) {
                Ok(objects) => {
                    for object in objects {
                        let mut item = Item::new(object);
                        item.origin = format!("path: {}\n", join(&self.origin, entry));
                        append(&mut all.items, item)
                            .map_err(|why| message!("merging resources from '{entry}': {why}"))?;
                    }
                    return Ok(());
                }
                Err(why) => why,
            },
            Err(why) => why,
        };
        let malformed = failed.to_string().contains("MalformedYAMLError")
            || failed.to_string().starts_with("map[string]interface");
        let failed = format!("accumulating resources from '{entry}': {failed}");
        let below = match self.below(entry) {
            Ok(below) => below,
            Err(_) if malformed => bail!("{failed}"),
            Err(why) => bail!("accumulation err='{failed}': {why}"),
        };
        self.folder(below, None)
            .and_then(|found| {
                all.config.merge(found.config);
                all.variables.extend(found.variables);
                found.items.into_iter().try_for_each(|item| {
                    append(&mut all.items, item).map_err(|why| {
                        message!(
                            "recursed merging from path '{}': {why}",
                            super::clean(&self.dir.join(entry)).display()
                        )
                    })
                })
            })
            .map_err(|why| message!("accumulation err='{failed}': {why}"))
    }

    fn component(&self, path: &str, all: Gathered) -> Result<Gathered> {
        let below = self
            .below(path)
            .map_err(|why| message!("loader.New {}", GoQuoted(&why.to_string())))?;
        self.folder(below, Some(all))
            .map_err(|why| message!("accumulateDirectory: {}", GoQuoted(&why.to_string())))
    }

    /// What the kustomization of a folder comes to; one that is a component goes on with `all`.
    fn folder(&self, mut below: Target, all: Option<Gathered>) -> Result<Gathered> {
        let dir = below.dir.display().to_string();
        below
            .load()
            .map_err(|why| message!("couldn't make target for path '{dir}': {why}"))?;
        let kind = match below.text("kind") {
            "" => "Kustomization",
            kind => kind,
        };
        match &all {
            Some(_) if kind != COMPONENT => {
                bail!("expected kind '{COMPONENT}' for path '{dir}' but got '{kind}'")
            }
            None if kind == COMPONENT => bail!("expected kind != '{COMPONENT}' for path '{dir}'"),
            _ => {}
        }
        below
            .gather(all.unwrap_or_default())
            .map_err(|why| message!("recursed accumulation of path '{dir}': {why}"))
    }
}

/// A path behind another, without `.` and `..`.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

fn read(dir: &Path) -> Result<(Map<String, Value>, String)> {
    let found: Vec<&str> = FILES
        .into_iter()
        .filter(|file| dir.join(file).is_file())
        .collect();
    let file = match found.as_slice() {
        [one] => *one,
        [] => bail!(
            "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
            dir.display()
        ),
        _ => bail!(
            "Found multiple kustomization files under: {}\n",
            dir.display()
        ),
    };
    let text = std::fs::read_to_string(dir.join(file))
        .map_err(|e| message!("{}: {}", dir.join(file).display(), go_io(&e)))?;
    let documents = crate::yaml::read(&text).map_err(|e| message!("invalid Kustomization: {e}"))?;
    match documents.into_iter().next().map(|d| d.value) {
        None | Some(Value::Null) => Ok((Map::new(), file.into())),
        Some(Value::Object(map)) => {
            let value = Value::Object(map);
            schema::check(&value, schema::KUSTOMIZATION, "")?;
            match schema::renamed(value, schema::KUSTOMIZATION) {
                Value::Object(map) => Ok((map, file.into())),
                _ => Ok((Map::new(), file.into())),
            }
        }
        Some(other) => bail!(
            "invalid Kustomization: json: cannot unmarshal {} into Go value of type types.Kustomization",
            skiff_api::machinery::read::go_kind(&other)
        ),
    }
}

/// Old fields that still work, with what to use instead.
fn warn_of_old(map: &Map<String, Value>) {
    for (old, new, how) in [
        ("bases", "resources", ""),
        ("commonLabels", "labels", ""),
        ("imageTags", "images", ""),
        ("patchesJson6902", "patches", ""),
        ("patchesStrategicMerge", "patches", ""),
        ("vars", "replacements", "[EXPERIMENTAL] "),
    ] {
        if map.get(old).is_some_and(|value| !value.is_null()) {
            eprintln!(
                "# Warning: '{old}' is deprecated. Please use '{new}' instead. {how}Run 'kustomize edit fix' to update your Kustomization automatically."
            );
        }
    }
}

/// The documents of a file, with booleans as kustomize reads them.
fn documents(source: &str, text: &str) -> Vec<Result<crate::resource::Manifest>> {
    if text.trim_start().starts_with('{') {
        return crate::resource::files::documents(source, text);
    }
    match crate::yaml::read_new(text) {
        Ok(list) => {
            let real = list.into_iter().filter(|d| !d.value.is_null());
            real.map(|d| {
                Ok(crate::resource::Manifest {
                    source: source.into(),
                    object: d.value,
                    lines: std::rc::Rc::new(d.lines),
                })
            })
            .collect()
        }
        Err(why) => vec![Err(message!("MalformedYAMLError: {why} in File: {source}"))],
    }
}

/// The objects of a file.
fn objects(file: &Path, text: &str) -> Result<Vec<Value>> {
    let shown = file.display().to_string();
    let mut out = Vec::new();
    for m in documents(&shown, text) {
        let m = m.and_then(|m| crate::resource::files::decodes(&m).map(|()| m));
        out.extend(
            crate::resource::files::flatten(m?)
                .into_iter()
                .map(|m| m.object),
        );
    }
    Ok(out)
}

/// Adds what a generator made: as another object, or to one of that name, as its behaviour says.
fn absorb(items: &mut Vec<Item>, mut item: Item) -> Result<()> {
    let id = item.id();
    let shown = format!(
        "resid.ResId{{Gvk:resid.Gvk{{Group:{}, Version:{}, Kind:{}, isClusterScoped:false}}, Name:{}, Namespace:{}}}",
        GoQuoted(&id.group),
        GoQuoted(&id.version),
        GoQuoted(&id.kind),
        GoQuoted(&id.name),
        GoQuoted(&id.namespace)
    );
    let matches: Vec<usize> = (0..items.len())
        .filter(|at| items[*at].any_id(|other| other.same(&id)))
        .collect();
    let merges = matches!(item.behavior, Behavior::Merge | Behavior::Replace);
    match matches.as_slice() {
        [] if merges => {
            bail!("merging from generator: id {shown} does not exist; cannot merge or replace")
        }
        [] => append(items, item),
        [at] if merges => {
            let old = &items[*at];
            take_over(old, &mut item);
            items[*at] = item;
            Ok(())
        }
        [_] => bail!(
            "merging from generator: id {shown} exists; can not use behavior: '{}', behavior must be merge or replace",
            item.behavior.word()
        ),
        _ => {
            bail!("merging from generator: found multiple objects that could accept merge of {id}")
        }
    }
}

/// A generated object takes the place of another, whose name and marks it keeps; one that merges keeps its data, too.
fn take_over(old: &Item, new: &mut Item) {
    for field in ["labels", "annotations"] {
        let mut merged = old
            .object
            .at("metadata")
            .map(field)
            .cloned()
            .unwrap_or_default();
        merged.extend(
            new.object
                .at("metadata")
                .map(field)
                .cloned()
                .unwrap_or_default(),
        );
        if !merged.is_empty() {
            new.object["metadata"][field] = Value::Object(merged);
        }
    }
    let was = old.id();
    new.rename(&was.name);
    if !was.namespace.is_empty() {
        new.object["metadata"]["namespace"] = json!(was.namespace);
    }
    if new.behavior == Behavior::Merge {
        for field in ["data", "binaryData"] {
            let mut merged = old.object.map(field).cloned().unwrap_or_default();
            merged.extend(new.object.map(field).cloned().unwrap_or_default());
            if !merged.is_empty() {
                new.object[field] = Value::Object(merged);
            }
        }
        new.origin = old.origin.clone();
    }
    new.previous = old.previous.clone();
    new.prefixes = old.prefixes.clone();
    new.suffixes = old.suffixes.clone();
    new.hashed |= old.hashed;
    new.variables = old.variables.clone();
}
