//! Which fields of which kinds a transformation touches, and how they are reached.
//! Invariant: lists on a path are entered whether it says so or not; nothing is made in a list.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/fieldspec` and `api/internal/plugins/builtinconfig`.

use super::item::Id;
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Map, Value};

/// One field of the objects that fit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spec {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub path: String,
    pub create: bool,
}

/// The fields that refer to objects of a kind by name.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub fields: Vec<Spec>,
}

/// All that is known of fields; kustomizations add to it with `configurations`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub name_prefix: Vec<Spec>,
    pub name_suffix: Vec<Spec>,
    pub namespace: Vec<Spec>,
    pub common_labels: Vec<Spec>,
    pub labels: Vec<Spec>,
    pub template_labels: Vec<Spec>,
    pub common_annotations: Vec<Spec>,
    pub name_reference: Vec<References>,
    pub var_reference: Vec<Spec>,
    pub images: Vec<Spec>,
    pub replicas: Vec<Spec>,
}

impl Spec {
    /// From words: `PATH[!] [KIND [GROUP [VERSION]]]`, where `!` says that what is missing is made and `-` stands for nothing.
    pub fn of(words: &str) -> Spec {
        let mut words = words.split_whitespace();
        let mut next = || words.next().filter(|w| *w != "-").unwrap_or("").to_string();
        let (path, kind, group, version) = (next(), next(), next(), next());
        Spec {
            create: path.ends_with('!'),
            path: path.trim_end_matches('!').into(),
            group,
            version,
            kind,
        }
    }

    pub fn read(value: &Value) -> Spec {
        let text = |name: &str| value.text(name).to_string();
        Spec {
            group: text("group"),
            version: text("version"),
            kind: text("kind"),
            path: text("path"),
            create: value.flag("create"),
        }
    }

    pub fn selects(&self, id: &Id) -> bool {
        id.is_selected(&self.group, &self.version, &self.kind)
    }

    /// Visits the field in an object, if the object fits.
    ///
    /// # Errors
    /// Something on the way that is neither a map nor a list.
    pub fn visit(
        &self,
        object: &mut Value,
        make: Option<fn() -> Value>,
        set: &mut dyn FnMut(&mut Value) -> Result<()>,
    ) -> Result<()> {
        match self.selects(&Id::of(object)) {
            true => self.reach(object, make, set),
            false => Ok(()),
        }
    }

    /// Visits the field in any object.
    ///
    /// # Errors
    /// As `visit`.
    pub fn reach(
        &self,
        object: &mut Value,
        make: Option<fn() -> Value>,
        set: &mut dyn FnMut(&mut Value) -> Result<()>,
    ) -> Result<()> {
        let parts = split(&self.path);
        let make = make.filter(|_| self.create);
        walk(object, &parts, make, set).map_err(|why| {
            let id = Id::of(object);
            message!("considering field '{}' of object {id}: {why}", self.path)
        })
    }
}

/// Visits the fields in an object.
///
/// # Errors
/// As `Spec::visit`.
pub fn visit_all(
    specs: &[Spec],
    object: &mut Value,
    make: Option<fn() -> Value>,
    mut set: impl FnMut(&mut Value) -> Result<()>,
) -> Result<()> {
    let id = Id::of(object);
    let mut meant = specs.iter().filter(|spec| spec.selects(&id));
    meant.try_for_each(|spec| spec.reach(object, make, &mut set))
}

/// An empty map, for fields that hold one.
pub fn a_map() -> Value {
    Value::Object(Map::new())
}

/// Nothing yet, for fields that hold one value.
pub fn a_scalar() -> Value {
    Value::Null
}

/// A path's parts; a slash behind a backslash is none between parts.
fn split(path: &str) -> Vec<String> {
    let hidden = path.replace("\\/", "\u{0}");
    let parts = hidden.split('/').filter(|part| !part.is_empty());
    parts.map(|part| part.replace('\u{0}', "/")).collect()
}

fn walk(
    value: &mut Value,
    path: &[String],
    make: Option<fn() -> Value>,
    set: &mut dyn FnMut(&mut Value) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = path.split_first() else {
        return set(value);
    };
    match value {
        Value::Null => Ok(()),
        Value::Array(list) => list
            .iter_mut()
            .try_for_each(|one| walk(one, path, make, set)),
        Value::Object(map) => {
            let name = first.trim_end_matches("[]");
            if name.is_empty() {
                bail!("cannot set or create an empty field name");
            }
            let missing = map.get(name).is_none_or(Value::is_null);
            if missing && let Some(make) = make.filter(|_| name == first) {
                let made = if rest.is_empty() { make() } else { a_map() };
                map.insert(name.into(), made);
            }
            match map.get_mut(name) {
                Some(field) => walk(field, rest, make, set),
                None => Ok(()),
            }
        }
        _ => bail!("expected sequence or mapping node"),
    }
}

impl Config {
    /// What a file of configuration says.
    pub fn read(value: &Value) -> Config {
        let specs = |field: &str| value.list(field).iter().map(Spec::read).collect();
        let references = value.list("nameReference").iter().map(|entry| {
            let to = Spec::read(entry);
            References {
                group: to.group,
                version: to.version,
                kind: to.kind,
                fields: entry.list("fieldSpecs").iter().map(Spec::read).collect(),
            }
        });
        Config {
            name_prefix: specs("namePrefix"),
            name_suffix: specs("nameSuffix"),
            namespace: specs("namespace"),
            common_labels: specs("commonLabels"),
            labels: specs("labels"),
            template_labels: specs("templateLabels"),
            common_annotations: specs("commonAnnotations"),
            name_reference: references.collect(),
            var_reference: specs("varReference"),
            images: specs("images"),
            replicas: specs("replicas"),
        }
    }

    /// Adds what another knows.
    pub fn merge(&mut self, other: &Config) {
        for (mine, theirs) in [
            (&mut self.name_prefix, &other.name_prefix),
            (&mut self.name_suffix, &other.name_suffix),
            (&mut self.namespace, &other.namespace),
            (&mut self.common_labels, &other.common_labels),
            (&mut self.labels, &other.labels),
            (&mut self.template_labels, &other.template_labels),
            (&mut self.common_annotations, &other.common_annotations),
            (&mut self.var_reference, &other.var_reference),
            (&mut self.images, &other.images),
            (&mut self.replicas, &other.replicas),
        ] {
            merge(mine, theirs);
        }
        for theirs in &other.name_reference {
            let same = |r: &&mut References| {
                (&r.group, &r.version, &r.kind) == (&theirs.group, &theirs.version, &theirs.kind)
            };
            match self.name_reference.iter_mut().find(same) {
                Some(mine) => merge(&mut mine.fields, &theirs.fields),
                None => self.name_reference.push(theirs.clone()),
            }
        }
    }
}

/// Adds fields that are not among them yet.
pub fn merge(into: &mut Vec<Spec>, more: &[Spec]) {
    for spec in more {
        if !into.contains(spec) {
            into.push(spec.clone());
        }
    }
}
