//! One kustomization file, and the objects that it and those below it come to.
//! Invariant: a field that is not supported is refused by name; nothing is built half.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/target/kusttarget.go`.

use super::fields::{CONFIGURATION, CONFIGURATION_FIELDS};
use super::item::{Adding, Item};
use super::plugins::{DECODING, Plugin};
use super::specs::{Config, Spec, a_map, visit_all};
use super::vars::{self, Variable};
use super::{generate, load, patches, replace, transform};
use crate::error::{Error, Result, bail, message};
use crate::typed::Read;
use serde_json::{Map, Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was gathered.
pub struct Gathered {
    pub items: Vec<Item>,
    /// What is built in, until a kustomization adds to it.
    pub config: Arc<Config>,
    pub variables: Vec<Variable>,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered {
            items: Vec::new(),
            config: Config::builtin(),
            variables: Vec::new(),
        }
    }
}

impl Gathered {
    /// Takes what another knows.
    fn know(&mut self, config: Arc<Config>, variables: Vec<Variable>) {
        if !Arc::ptr_eq(&self.config, &config) {
            Arc::make_mut(&mut self.config).merge(&config);
        }
        self.variables.extend(variables);
    }
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
            bail!("the buildMetadata option {unknown:?} is not supported");
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
        let (map, file) = load::kustomization(&self.dir)?;
        self.map = map;
        self.file = file;
        load::warn_of_old(&self.map);
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
                "the field {field:?} of {}/{} is not supported; build it with kustomize and pass the result with -f",
                self.dir.display(),
                self.file
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
        self.resources(&self.texts("resources"), &mut all)
            .map_err(|why| message!("accumulating resources: {why}"))?;
        for path in self.texts("configurations") {
            for document in self.documents(&path)? {
                let read = CONFIGURATION.read(&document, CONFIGURATION_FIELDS);
                let read = read.map_err(|why| message!("{DECODING}: {why}"))?;
                Arc::make_mut(&mut all.config).merge(&Config::read(&read));
            }
        }
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
                generate::absorb(&mut all.items, item)?;
            }
        }
        let failed = |why| message!("loading generator plugins: {why}");
        for object in self.plugins("generators").map_err(failed)? {
            let plugin = Plugin::read(&object)
                .map_err(|why| failed(message!("failed to load generator: {why}")))?;
            let mut item = plugin.generate(&self.dir)?;
            item.origin = origin(plugin.kind());
            generate::absorb(&mut all.items, item)?;
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
        let plugins = self.plugins("transformers")?;
        let plugins: Vec<Plugin> = plugins.iter().map(Plugin::read).collect::<Result<_>>()?;
        for plugin in plugins {
            plugin.transform(&self.dir, all)?;
        }
        match self.texts("validators").first() {
            Some(path) => bail!("the validator {path:?} is not supported"),
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
            self.resources(&[entry], &mut found)?;
            out.extend(found.items.into_iter().map(|item| item.object));
        }
        Ok(out)
    }

    /// The documents of a file that it names.
    fn documents(&self, path: &str) -> Result<Vec<Value>> {
        let file = super::inside(&self.dir, path).map_err(|why| Error::msg(why.to_string()))?;
        let text = super::text(&file)?;
        let documents = crate::yaml::read(&text).map_err(|why| Error::msg(why.to_string()))?;
        Ok(documents.into_iter().map(|d| d.value).collect())
    }

    /// The entries of `resources`.
    fn resources(&self, entries: &[String], all: &mut Gathered) -> Result<()> {
        let mut items = std::mem::take(&mut all.items);
        let mut adding = Adding::to(&mut items);
        for entry in entries {
            self.resource(entry, &mut adding, all)?;
        }
        all.items = items;
        Ok(())
    }

    /// One of them: a file, or the folder of another kustomization.
    fn resource(&self, entry: &str, adding: &mut Adding<'_>, all: &mut Gathered) -> Result<()> {
        if entry.contains("://") {
            bail!("the remote resource {entry:?} is not supported; fetch it first");
        }
        let failed = match self.items(entry) {
            Ok(items) => {
                return items.into_iter().try_for_each(|item| {
                    adding
                        .append(item)
                        .map_err(|why| message!("merging resources from '{entry}': {why}"))
                });
            }
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
                all.know(found.config, found.variables);
                found.items.into_iter().try_for_each(|item| {
                    adding.append(item).map_err(|why| {
                        message!(
                            "recursed merging from path '{}': {why}",
                            super::clean(&self.dir.join(entry)).display()
                        )
                    })
                })
            })
            .map_err(|why| message!("accumulation err='{failed}': {why}"))
    }

    /// The objects of a file that it names.
    fn items(&self, entry: &str) -> Result<Vec<Item>> {
        let file = super::inside(&self.dir, entry).map_err(|why| Error::msg(why.to_string()))?;
        let objects = load::objects(&file, &super::text(&file)?)?;
        let tells = self.tells("originAnnotations");
        let path = format!("path: {}\n", join(&self.origin, entry));
        let item = |mut object: Value| {
            if tells && object.at("metadata").is_object() {
                let annotations = [Spec {
                    path: "metadata/annotations".into(),
                    ..Spec::default()
                }];
                let marked = |value: &mut Value| match value {
                    Value::Null | Value::Object(_) => Ok(()),
                    other => Err(super::item::no_map(other)),
                };
                visit_all(&annotations, &mut object, Some(a_map), marked)
                    .map_err(|why| message!("cannot add path annotation for '{entry}': {why}"))?;
            }
            let mut item = Item::new(object)?;
            item.origin = path.clone();
            Ok(item)
        };
        objects.into_iter().map(item).collect()
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
