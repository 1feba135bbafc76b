//! One object on its way through a kustomization, and the names that it had before.
//! Invariant: references are found by names of before; nothing but what is here decides which object is meant.
//! Behaviour follows `sigs.k8s.io/kustomize/api/resource` and `kyaml/resid`.

use crate::discovery::split_api_version;
use crate::typed::Read;
use serde_json::{Value, json};
use std::fmt;

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
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
            name: meta.text("name").into(),
        }
    }

    pub fn is_cluster_wide(&self) -> bool {
        super::is_cluster_wide(&self.kind)
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
    pub fn new(object: Value) -> Item {
        Item {
            object,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            hashed: false,
            behavior: Behavior::Unspecified,
            variables: Vec::new(),
            origin: String::new(),
        }
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

    pub fn rename(&mut self, name: &str) {
        self.object["metadata"]["name"] = json!(name);
    }
}

/// Adds an object; none other may be called so.
///
/// # Errors
/// There is one.
pub fn append(items: &mut Vec<Item>, item: Item) -> crate::error::Result<()> {
    let id = item.id();
    if items.iter().any(|other| other.id().same(&id)) {
        crate::error::bail!("may not add resource with an already registered id: {id}");
    }
    items.push(item);
    Ok(())
}

/// The one object that has or had this name.
///
/// # Errors
/// None, or several, in the words for patches.
pub fn find(items: &[Item], id: &Id) -> crate::error::Result<usize> {
    let found: Vec<usize> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.any_id(|other| other.same(id)))
        .map(|(at, _)| at)
        .collect();
    let how = match found.as_slice() {
        [one] => return Ok(*one),
        [] => "no matches",
        _ => "multiple matches",
    };
    crate::error::bail!("{how} for Id {id}; failed to find unique target for patch {id}")
}
