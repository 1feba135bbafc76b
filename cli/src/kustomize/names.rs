//! New names, and the fields that refer to them.
//! Invariant: a reference follows the object that it named in its file, through prefixes, suffixes and hashes.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/nameref` and `api/internal/accumulator`.

use super::item::{Id, Item};
use super::specs::{Config, References, Spec};
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Puts hashes of data onto names.
pub fn hash(items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| item.hashed) {
        let hash = super::generate::hash(&item.object);
        let name = item.id().name;
        item.remember();
        item.rename(&format!("{name}-{hash}"));
    }
}

/// One that may be referred to.
struct Candidate {
    id: Id,
    cluster_wide: bool,
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Candidate {
    fn of(item: &Item) -> Candidate {
        let id = item.id();
        Candidate {
            cluster_wide: id.is_cluster_wide(),
            id,
            previous: item.previous.clone(),
            prefixes: item.prefixes.clone(),
            suffixes: item.suffixes.clone(),
        }
    }

    fn first(&self) -> &Id {
        self.previous.first().unwrap_or(&self.id)
    }
}

/// All of them, by what they were called and by the namespaces that they were in first.
#[derive(Default)]
struct Candidates<'a> {
    by_name: HashMap<&'a str, Vec<&'a Candidate>>,
    by_first_space: HashMap<&'a str, Vec<&'a Candidate>>,
}

impl<'a> Candidates<'a> {
    fn of(all: &'a [Candidate]) -> Candidates<'a> {
        let mut out = Candidates::default();
        for one in all {
            let names: BTreeSet<&str> = one.previous.iter().map(|id| id.name.as_str()).collect();
            for name in names {
                out.by_name.entry(name).or_default().push(one);
            }
            if !one.cluster_wide {
                let space = space(one.first());
                out.by_first_space.entry(space).or_default().push(one);
            }
        }
        out
    }
}

fn space(id: &Id) -> &str {
    match id.namespace.as_str() {
        "" => "default",
        named => named,
    }
}

/// What refers, and to what.
struct Reference<'a> {
    referrer: &'a Candidate,
    /// The namespaces of accounts that it names.
    spaces: &'a [String],
    to: &'a References,
    /// Of a binding: the kind that its `roleRef` names.
    role: Option<(String, String)>,
    candidates: &'a Candidates<'a>,
}

/// Brings all references up to date.
///
/// # Errors
/// A name that several objects had.
pub fn refer(items: &mut [Item], config: &Config) -> Result<()> {
    let all: Vec<Candidate> = items.iter().map(Candidate::of).collect();
    let candidates = Candidates::of(&all);
    for (item, referrer) in items.iter_mut().zip(&all) {
        let spaces = bound_namespaces(&item.object);
        let original = item.original();
        for to in &config.name_reference {
            for field in to.fields.iter().filter(|field| field.selects(&original)) {
                let reference = Reference {
                    referrer,
                    spaces: &spaces,
                    to,
                    role: role_of(&item.object, field),
                    candidates: &candidates,
                };
                field
                    .reach(&mut item.object, None, &mut |value| reference.set(value))
                    .map_err(|why| {
                        message!(
                            "updating name reference in '{}' field of '{}': {why}",
                            field.path,
                            referrer.id
                        )
                    })?;
            }
        }
    }
    Ok(())
}

fn role_of(object: &Value, field: &Spec) -> Option<(String, String)> {
    let role = object.at("roleRef");
    (field.path.ends_with("roleRef/name") && role.at("apiGroup").is_string()).then(|| {
        (
            role.text("apiGroup").to_string(),
            role.text("kind").to_string(),
        )
    })
}

/// The namespaces of accounts that a RoleBinding names.
fn bound_namespaces(object: &Value) -> Vec<String> {
    if object.text("kind") != "RoleBinding" {
        return Vec::new();
    }
    let accounts = object.list("subjects").iter();
    let accounts = accounts.filter(|s| s.text("kind") == "ServiceAccount");
    accounts
        .map(|s| s.text("namespace").to_string())
        .filter(|namespace| !namespace.is_empty())
        .collect()
}

impl Reference<'_> {
    fn set(&self, value: &mut Value) -> Result<()> {
        match value {
            Value::Null => Ok(()),
            Value::Array(list) => list.iter_mut().try_for_each(|one| self.set(one)),
            Value::Object(_) => self.set_map(value),
            _ => {
                let name = value.as_str().unwrap_or_default().to_string();
                if let Some(target) = self.select(&name, None, false)? {
                    *value = json!(target.id.name);
                }
                Ok(())
            }
        }
    }

    fn set_map(&self, value: &mut Value) -> Result<()> {
        let Some(name) = value.some("name").and_then(Value::as_str) else {
            bail!("path config error; no 'name' field in node");
        };
        let namespace = value.some("namespace").and_then(Value::as_str);
        let Some(target) = self.select(name, namespace, true)? else {
            return Ok(());
        };
        let (name, namespace) = (target.id.name.clone(), target.id.namespace.clone());
        value["name"] = json!(name);
        if !namespace.is_empty() {
            value["namespace"] = json!(namespace);
        }
        Ok(())
    }

    fn is_reachable(&self, c: &Candidate) -> bool {
        self.referrer.cluster_wide
            || c.cluster_wide
            || c.id.same_namespace(&self.referrer.id)
            || self.spaces.contains(&c.id.namespace)
    }

    /// Whether one is of those that were in a namespace first, or are there now if none was.
    fn in_namespace(&self, namespace: &str) -> impl Fn(&Candidate) -> bool {
        let first = self.candidates.by_first_space.get(namespace);
        let was = first.is_some_and(|all| all.iter().any(|c| self.is_reachable(c)));
        move |c| {
            let id = if was { c.first() } else { &c.id };
            !c.cluster_wide && space(id) == namespace
        }
    }

    /// The one that a name meant.
    fn select(
        &self,
        name: &str,
        namespace: Option<&str>,
        with_namespaces: bool,
    ) -> Result<Option<&Candidate>> {
        let named = self.candidates.by_name.get(name);
        let named = named.map_or(&[][..], Vec::as_slice);
        if named.is_empty() {
            return Ok(None);
        }
        let inside = namespace.map(|namespace| self.in_namespace(namespace));
        let to = self.to;
        let mut left: Vec<&Candidate> = named
            .iter()
            .copied()
            .filter(|c| self.is_reachable(c))
            .filter(|c| inside.as_ref().is_none_or(|inside| inside(c)))
            .filter(|c| {
                let mut ids = c.previous.iter();
                ids.any(|id| id.is_selected(&to.group, &to.version, &to.kind))
            })
            .filter(|c| {
                self.role.as_ref().is_none_or(|(group, kind)| {
                    c.previous.iter().any(|id| id.is_selected(group, "", kind))
                })
            })
            .filter(|c| {
                self.referrer.cluster_wide
                    || c.cluster_wide
                    || c.id.kind == "ServiceAccount"
                    || c.id.same_namespace(&self.referrer.id)
            })
            .collect();
        if left.len() == 1 {
            return Ok(left.pop());
        }
        left.retain(|c| self.same_endings(c, true));
        if left.len() > 1 {
            left.retain(|c| self.same_endings(c, false));
        }
        let Some(first) = left.first().copied() else {
            return Ok(None);
        };
        let alike = left.iter().all(|c| {
            c.id.name == first.id.name && (!with_namespaces || c.id.namespace == first.id.namespace)
        });
        if alike {
            return Ok(Some(first));
        }
        let ids: Vec<String> = left.iter().map(|c| c.id.to_string()).collect();
        bail!("found multiple possible referrals: {}", ids.join(", "))
    }

    fn same_endings(&self, c: &Candidate, allow_empty: bool) -> bool {
        let same = |a: &[String], b: &[String]| {
            (allow_empty && (a.is_empty() || b.is_empty()))
                || a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b)
        };
        same(&c.prefixes, &self.referrer.prefixes) && same(&c.suffixes, &self.referrer.suffixes)
    }
}
