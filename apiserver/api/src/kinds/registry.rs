//! All kinds that a server serves. It is replaced whole when one comes or goes; a request keeps the one that it began with.
//!
//! Invariant: group, version and plural name a kind, as do group, version and kind; of the kinds that show the same objects one is stored.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use super::{
    Kind,
    definition::Brought,
    list::{self, ListError, TablesText},
};
use crate::machinery::names;

#[derive(Debug, Clone)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
    /// Those that nobody may ask for, and that the objects of others are stored as.
    unserved: Vec<Arc<Kind>>,
    /// Places in `kinds` of those with this plural name: few.
    by_plural: HashMap<&'static str, Vec<u32>>,
    by_kind: HashMap<&'static str, Vec<u32>>,
}

impl Registry {
    /// The kinds that are built in.
    pub fn builtin() -> &'static Arc<Registry> {
        static BUILTIN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let kinds = list::builtin().unwrap_or_else(|line| panic!("kinds.txt: {line}"));
            Arc::new(Registry::new(kinds.into_iter().map(Arc::new).collect()))
        });
        &BUILTIN
    }

    /// The kinds that are built in, and those of what nodes and pods use.
    pub fn measuring() -> &'static Arc<Registry> {
        static MEASURING: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let kinds = list::measured().unwrap_or_else(|line| panic!("measured.txt: {line}"));
            Arc::new(Registry::builtin().with(kinds))
        });
        &MEASURING
    }

    /// In the order in which discovery shows groups, then versions.
    pub fn new(kinds: Vec<Arc<Kind>>) -> Registry {
        let index = |name: fn(&Kind) -> &'static str| {
            let mut places: HashMap<&'static str, Vec<u32>> = HashMap::new();
            for (at, kind) in (0..).zip(&kinds) {
                places.entry(name(kind)).or_default().push(at);
            }
            places
        };
        let (by_plural, by_kind) = (index(|kind| kind.plural), index(|kind| kind.kind));
        Registry {
            kinds,
            unserved: Vec::new(),
            by_plural,
            by_kind,
        }
    }

    /// The same with further kinds, which come last.
    pub fn with(&self, more: impl IntoIterator<Item = Kind>) -> Registry {
        Registry::new(
            self.kinds
                .iter()
                .cloned()
                .chain(more.into_iter().map(Arc::new))
                .collect(),
        )
    }

    /// The same with the kinds of further tables, which come last.
    ///
    /// # Errors
    /// A line that is not understood, or a kind of which there is no type or nothing is said of its rules.
    pub fn with_tables(&self, text: TablesText) -> Result<Registry, ListError> {
        Ok(self.with(list::beside_builtin(text)?))
    }

    /// Those of these kinds.
    pub fn only(&self, which: impl Fn(&Kind) -> bool) -> Registry {
        let kinds = self.kinds.iter().filter(|kind| which(kind));
        Registry {
            unserved: self.unserved.clone(),
            ..Registry::new(kinds.cloned().collect())
        }
    }

    /// The same with what definitions bring, which comes last, by the names of its groups.
    pub fn with_definitions<'b>(&self, brought: impl IntoIterator<Item = &'b Brought>) -> Registry {
        let (mut more, mut unserved) = (Vec::new(), Vec::new());
        for one in brought {
            more.extend(one.served.iter().cloned());
            unserved.extend(one.unserved.iter().cloned());
        }
        more.sort_by(|one: &Arc<Kind>, other| {
            let versions = || names::compare_versions(one.version, other.version);
            (one.group.cmp(other.group))
                .then_with(versions)
                .then_with(|| one.plural.cmp(other.plural))
        });
        Registry {
            unserved,
            ..Registry::new(self.kinds.iter().cloned().chain(more).collect())
        }
    }

    pub fn all(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    fn among<'r>(&'r self, places: Option<&'r Vec<u32>>) -> impl Iterator<Item = &'r Arc<Kind>> {
        places
            .into_iter()
            .flatten()
            .map(|at| &self.kinds[*at as usize])
    }

    /// Whether there are kinds of a group.
    pub fn has_group(&self, group: &str) -> bool {
        self.all().iter().any(|kind| kind.group == group)
    }

    /// The kind of a group, version and plural name.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.among(self.by_plural.get(plural))
            .find(|kind| kind.version == version && kind.group == group)
    }

    /// The kind of a group, version and kind.
    pub fn find_kind(&self, group: &str, version: &str, name: &str) -> Option<&Arc<Kind>> {
        self.among(self.by_kind.get(name))
            .find(|kind| kind.version == version && kind.group == group)
    }

    /// The kind under which objects of `resource` (`plural.group`) are stored.
    pub fn stored(&self, resource: &str) -> Option<&Arc<Kind>> {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let unserved = self.unserved.iter().filter(|kind| kind.plural == plural);
        self.among(self.by_plural.get(plural))
            .chain(unserved)
            .find(|kind| kind.group == group && kind.stored_as.is_none())
    }

    /// The kind whose objects are stored for `kind`.
    pub fn stored_row<'k>(&'k self, kind: &'k Arc<Kind>) -> &'k Arc<Kind> {
        kind.stored_as
            .and_then(|alias| self.stored(alias.resource))
            .unwrap_or(kind)
    }

    /// The kind whose rules a write of this one obeys.
    pub fn worked_on_as<'k>(&'k self, kind: &'k Arc<Kind>) -> &'k Arc<Kind> {
        let alias = kind.stored_as.filter(|alias| alias.worked_on_as_stored);
        alias
            .and_then(|alias| self.stored(alias.resource))
            .unwrap_or(kind)
    }

    /// The kinds that show the same objects, each at its version; also those that are not served.
    pub fn versions_of<'r>(&'r self, kind: &Kind) -> impl Iterator<Item = &'r Arc<Kind>> + use<'r> {
        let resource = kind.stored_resource();
        let all = self.kinds.iter().chain(&self.unserved);
        all.filter(move |other| other.stored_resource() == resource)
    }

    /// The kind that shows the same objects at another version, or this one itself; also one that is not served.
    pub fn at_version(&self, kind: &Kind, api_version: &str) -> Option<&Arc<Kind>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let all = self.kinds.iter().chain(&self.unserved);
        all.filter(|other| other.version == version && other.group == group)
            .find(|other| other.same_objects(kind))
    }
}
