//! One object on its way through a kustomization, and the names that it had before.
//! Invariant: references are found by names of before; nothing but what is here decides which object is meant.
//! Behaviour follows `sigs.k8s.io/kustomize/api/resource` and `kyaml/resid`.

use super::strategic::node;
use crate::discovery::split_api_version;
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Id {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Id {
    pub fn of(object: &Value) -> Id {
        let (group, version) = split_api_version(object.text("apiVersion"));
        let meta = object.at("metadata");
        Id {
            group: group.into(),
            version: version.into(),
            kind: object.text("kind").into(),
            namespace: meta.text("namespace").into(),
            name: word(meta.at("name")),
        }
    }

    pub fn is_cluster_wide(&self) -> bool {
        super::is_cluster_wide(&self.group, &self.version, &self.kind)
    }

    /// The namespace that counts; nothing for what is in none.
    fn effective_namespace(&self) -> Option<&str> {
        match self.namespace.as_str() {
            _ if self.is_cluster_wide() => None,
            "" => Some("default"),
            named => Some(named),
        }
    }

    pub fn same_namespace(&self, other: &Id) -> bool {
        self.effective_namespace() == other.effective_namespace()
    }

    /// The same kind and name, wherever.
    pub fn same_but_namespace(&self, other: &Id) -> bool {
        (&self.group, &self.version, &self.kind, &self.name)
            == (&other.group, &other.version, &other.kind, &other.name)
    }

    pub fn same(&self, other: &Id) -> bool {
        self.same_but_namespace(other) && self.same_namespace(other)
    }

    /// Equal for names that are the same.
    pub fn key(mut self) -> Id {
        let namespace = self.effective_namespace().unwrap_or_default();
        self.namespace = namespace.to_string();
        self
    }

    /// Whether group, version and kind are those asked for; empty ones ask for nothing.
    pub fn is_selected(&self, group: &str, version: &str, kind: &str) -> bool {
        let fits = |asked: &str, is: &str| asked.is_empty() || asked == is;
        fits(group, &self.group) && fits(version, &self.version) && fits(kind, &self.kind)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &str, none: &str| if text.is_empty() { none } else { text }.to_string();
        write!(
            f,
            "{}.{}.{}/{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]"),
            or(&self.name, "[noName]"),
            or(&self.namespace, "[noNs]")
        )
    }
}

/// What a generated object does to one of its name that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub fn of(text: &str) -> Behavior {
        match text {
            "create" => Behavior::Create,
            "replace" => Behavior::Replace,
            "merge" => Behavior::Merge,
            _ => Behavior::Unspecified,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Behavior::Unspecified => "unspecified",
            Behavior::Create => "create",
            Behavior::Replace => "replace",
            Behavior::Merge => "merge",
        }
    }
}

/// One object on its way.
#[derive(Clone, Debug)]
pub struct Item {
    pub object: Value,
    /// What it was called before, oldest first.
    pub previous: Vec<Id>,
    /// Put before its name and behind it, in this order.
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    /// Gets a hash of its data at the end of its name.
    pub hashed: bool,
    pub behavior: Behavior,
    /// The names of variables that are read from it.
    pub variables: Vec<String>,
    /// Where it comes from, as `originAnnotations` tell it.
    pub origin: String,
}

impl Item {
    /// # Errors
    /// An object that does not say what it is, or whose metadata are none.
    pub fn new(object: Value) -> Result<Item> {
        let mut item = Item {
            object,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            hashed: false,
            behavior: Behavior::Unspecified,
            variables: Vec::new(),
            origin: String::new(),
        };
        if !item.object.is_object() {
            bail!("missing Resource metadata");
        }
        item.named()?;
        item.formed()?;
        Ok(item)
    }

    /// Sees that the object says what it is and what it is called.
    ///
    /// # Errors
    /// It does not.
    pub fn named(&self) -> Result<()> {
        let meta = self.object.at("metadata");
        let kind = self.object.text("kind");
        if kind.is_empty() {
            bail!("missing kind in object {}", self.shown());
        }
        let is_list = kind.ends_with("List") && (meta.is_null() || meta.is_object());
        if is_list || !word(meta.at("name")).is_empty() {
            return Ok(());
        }
        bail!("missing metadata.name in object {}", self.shown())
    }

    /// Sees that the object and its metadata are maps. Annotations that are one word are none.
    ///
    /// # Errors
    /// They are something else.
    pub fn formed(&mut self) -> Result<()> {
        let id = self.id();
        let shown = self.shown();
        let Some(object) = self.object.as_object_mut() else {
            bail!("missing Resource metadata");
        };
        let meta = match object.get_mut("metadata") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(meta)) => meta,
            Some(_) => bail!("missing metadata.name in object {shown}"),
        };
        match meta.get("annotations") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(list @ Value::Array(_)) => bail!(
                "considering field 'metadata/annotations' of object {id}: {}",
                no_map(list)
            ),
            Some(_) => _ = meta.remove("annotations"),
        }
        Ok(())
    }

    /// As Go shows its metadata.
    fn shown(&self) -> String {
        let meta = self.object.at("metadata");
        let mut annotations = words(meta.at("annotations"));
        if !self.previous.is_empty() && meta.is_object() {
            let all = |of: fn(&Id) -> &str| {
                let all: Vec<&str> = self.previous.iter().map(of).collect();
                all.join(",")
            };
            let space = |id: &Id| match id.namespace.is_empty() {
                true => "default".to_string(),
                false => id.namespace.clone(),
            };
            let spaces: Vec<String> = self.previous.iter().map(space).collect();
            for (what, of) in [
                ("Kinds", all(|id| &id.kind)),
                ("Names", all(|id| &id.name)),
                ("Namespaces", spaces.join(",")),
            ] {
                annotations.insert(format!("internal.config.kubernetes.io/previous{what}"), of);
            }
        }
        let map = |map: BTreeMap<String, String>| {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("map[{}]", pairs.join(" "))
        };
        format!(
            "{{{{{} {}}} {{{{{} {}}} {} {}}}}}",
            word(self.object.at("apiVersion")),
            self.object.text("kind"),
            word(meta.at("name")),
            word(meta.at("namespace")),
            map(words(meta.at("labels"))),
            map(annotations)
        )
    }

    pub fn kind(&self) -> &str {
        self.object.text("kind")
    }

    pub fn id(&self) -> Id {
        Id::of(&self.object)
    }

    /// What it was called in its file.
    pub fn original(&self) -> Id {
        self.previous.first().cloned().unwrap_or_else(|| self.id())
    }

    /// Keeps what it is called now.
    pub fn remember(&mut self) {
        let id = self.id();
        self.previous.push(id);
    }

    /// Whether it has or had a name for which this is so.
    pub fn any_id(&self, mut fits: impl FnMut(&Id) -> bool) -> bool {
        self.previous.iter().any(&mut fits) || fits(&self.id())
    }

    /// The same for one name, which is compared first.
    pub fn has_id(&self, id: &Id) -> bool {
        self.previous.iter().any(|other| other.same(id))
            || (self.is_named(&id.name) && self.id().same(id))
    }

    fn is_named(&self, name: &str) -> bool {
        match self.object.at("metadata").at("name") {
            Value::String(text) => text == name,
            other => word(other) == name,
        }
    }

    pub fn rename(&mut self, name: &str) {
        self.object["metadata"]["name"] = json!(name);
    }
}

/// A value that is one word.
pub fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => String::new(),
    }
}

fn words(map: &Value) -> BTreeMap<String, String> {
    let all = map.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), word(value)))
        .collect()
}

/// Why something is not taken for a map.
pub fn no_map(value: &Value) -> crate::error::Error {
    message!(
        "wrong node kind: expected MappingNode but got {}: node contents:\n{}",
        node(value),
        crate::yaml::write(value)
    )
}

/// Objects to which others are added, of which none may be called as another is.
pub struct Adding<'a> {
    items: &'a mut Vec<Item>,
    known: HashSet<Id>,
}

impl Adding<'_> {
    pub fn to(items: &mut Vec<Item>) -> Adding<'_> {
        let known = items.iter().map(|item| item.id().key()).collect();
        Adding { items, known }
    }

    /// # Errors
    /// There is one that is called so.
    pub fn append(&mut self, item: Item) -> Result<()> {
        let id = item.id();
        if !self.known.insert(id.clone().key()) {
            bail!("may not add resource with an already registered id: {id}");
        }
        self.items.push(item);
        Ok(())
    }
}

/// The one object that has or had this name.
///
/// # Errors
/// None, or several, in the words for patches.
pub fn find(items: &[Item], id: &Id) -> Result<usize> {
    let found: Vec<usize> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.has_id(id))
        .map(|(at, _)| at)
        .collect();
    let how = match found.as_slice() {
        [one] => return Ok(*one),
        [] => "no matches",
        _ => "multiple matches",
    };
    bail!("{how} for Id {id}; failed to find unique target for patch {id}")
}
