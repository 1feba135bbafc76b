//! New names, and the fields that refer to them.
//! Invariant: a reference follows the object that it named in its file, through prefixes, suffixes and hashes.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/nameref` and `api/internal/accumulator`.

use super::item::{Id, Item};
use super::specs::{Config, References, Spec};
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};

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
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

/// What refers, and to what.
struct Reference<'a> {
    referrer: &'a Candidate,
    to: &'a References,
    /// Of a binding: the kind that its `roleRef` names.
    role: Option<(String, String)>,
    candidates: Vec<&'a Candidate>,
}

/// Brings all references up to date.
///
/// # Errors
/// A name that several objects had.
pub fn refer(items: &mut [Item], config: &Config) -> Result<()> {
    let all: Vec<Candidate> = items
        .iter()
        .map(|item| Candidate {
            id: item.id(),
            previous: item.previous.clone(),
            prefixes: item.prefixes.clone(),
            suffixes: item.suffixes.clone(),
        })
        .collect();
    for (item, referrer) in items.iter_mut().zip(&all) {
        let spaces = bound_namespaces(&item.object);
        let reachable = |c: &&Candidate| {
            referrer.id.is_cluster_wide()
                || c.id.is_cluster_wide()
                || c.id.same_namespace(&referrer.id)
                || spaces.contains(&c.id.namespace)
        };
        let original = item.original();
        for to in &config.name_reference {
            for field in to.fields.iter().filter(|field| field.selects(&original)) {
                let reference = Reference {
                    referrer,
                    to,
                    role: role_of(&item.object, field),
                    candidates: all.iter().filter(reachable).collect(),
                };
                let at = Spec {
                    path: field.path.clone(),
                    ..Spec::default()
                };
                at.visit(&mut item.object, None, &mut |value| reference.set(value))
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
                if let Some(target) = self.select(&name, &self.candidates, false)? {
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
        let candidates: Vec<&Candidate> = match value.some("namespace").and_then(Value::as_str) {
            None => self.candidates.clone(),
            Some(namespace) => self.in_namespace(namespace),
        };
        let Some(target) = self.select(name, &candidates, true)? else {
            return Ok(());
        };
        let (name, namespace) = (target.id.name.clone(), target.id.namespace.clone());
        value["name"] = json!(name);
        if !namespace.is_empty() {
            value["namespace"] = json!(namespace);
        }
        Ok(())
    }

    /// Those that were in a namespace first, or are there now if none was.
    fn in_namespace(&self, namespace: &str) -> Vec<&Candidate> {
        let space = |id: &Id| match id.namespace.as_str() {
            "" => "default".to_string(),
            named => named.into(),
        };
        let by = |of: fn(&Candidate) -> &Id| {
            let all = self.candidates.iter().copied();
            all.filter(|c| !c.id.is_cluster_wide() && space(of(c)) == namespace)
                .collect::<Vec<_>>()
        };
        let first = by(|c| c.previous.first().unwrap_or(&c.id));
        if first.is_empty() {
            by(|c| &c.id)
        } else {
            first
        }
    }

    /// The one that a name meant.
    fn select<'c>(
        &self,
        name: &str,
        candidates: &[&'c Candidate],
        with_namespaces: bool,
    ) -> Result<Option<&'c Candidate>> {
        let to = self.to;
        let mut left: Vec<&Candidate> = candidates
            .iter()
            .copied()
            .filter(|c| c.previous.iter().any(|id| id.name == name))
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
                self.referrer.id.is_cluster_wide()
                    || c.id.is_cluster_wide()
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
