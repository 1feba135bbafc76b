//! Variables: `$(NAME)` in some fields stands for a field of an object.
//! Invariant: what no variable is called stays as it is written.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/refvar` and `api/internal/accumulator`.

use super::item::Id;
use super::specs::visit_all;
use super::target::Gathered;
use crate::error::{Result, bail};
use crate::typed::Read;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A name for a field of an object.
#[derive(Clone, Debug)]
pub struct Variable {
    name: String,
    path: String,
    /// As Go shows it.
    shown: String,
}

/// Takes a kustomization's variables among those that are known.
///
/// # Errors
/// One that several objects fit, or that is there already.
pub fn merge(vars: &[Value], all: &mut Gathered) -> Result<()> {
    for var in vars {
        let object = var.at("objref");
        let api_version = match (object.text("apiVersion"), object.text("group")) {
            ("", "") => object.text("version").to_string(),
            ("", group) => format!("{group}/{}", object.text("version")),
            (given, _) => given.to_string(),
        };
        let id = Id::of(&json!({
            "apiVersion": api_version, "kind": object.at("kind"),
            "metadata": {"name": object.at("name"), "namespace": object.at("namespace")},
        }));
        let path = match var.at("fieldref").text("fieldPath") {
            "" => "metadata.name",
            path => path,
        };
        let name = var.text("name");
        let gvk = id.to_string();
        let gvk = gvk.split('/').next().unwrap_or_default();
        let variable = Variable {
            name: name.into(),
            path: path.into(),
            shown: format!("{{{name} {} {{{path}}}}}", shown_object(&id, gvk)),
        };
        let exact = !id.namespace.is_empty() || id.is_cluster_wide();
        let fits = |other: &Id| {
            if exact {
                other.same(&id)
            } else {
                other.same_but_namespace(&id)
            }
        };
        let mut found: Vec<_> = all
            .items
            .iter_mut()
            .filter(|item| item.any_id(fits))
            .collect();
        match found.as_mut_slice() {
            [] => {}
            [one] => one.variables.push(variable.name.clone()),
            several => bail!(
                "found {} resId matches for var {} (unable to disambiguate)",
                several.len(),
                variable.shown
            ),
        }
        if all
            .variables
            .iter()
            .any(|known| known.name == variable.name)
        {
            bail!("var '{}' already encountered", variable.name);
        }
        all.variables.push(variable);
    }
    all.variables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

fn shown_object(id: &Id, gvk: &str) -> String {
    match (id.name.as_str(), id.namespace.as_str()) {
        (_, "") => gvk.to_string(),
        (_, namespace) => format!("{gvk} {namespace}"),
    }
}

/// Replaces variables by what they stand for.
///
/// # Errors
/// One whose object or field is not there.
pub fn resolve(all: &mut Gathered) -> Result<()> {
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    for variable in &all.variables {
        let Some(item) = all
            .items
            .iter()
            .find(|i| i.variables.contains(&variable.name))
        else {
            bail!(
                "var '{}' cannot be mapped to a field in the set of known resources",
                variable.shown
            );
        };
        let parts = super::replace::split(&variable.path);
        let found = super::replace::places(&item.object, &parts)
            .first()
            .and_then(|at| item.object.pointer(at));
        let Some(value) = found else {
            bail!(
                "field specified in var '{}' not found in corresponding resource",
                variable.shown
            );
        };
        values.insert(&variable.name, value.clone());
    }
    if values.is_empty() {
        return Ok(());
    }
    let used: RefCell<BTreeSet<String>> = RefCell::default();
    let lookup = |name: &str| {
        let value = values.get(name).filter(|v| !v.is_object() && !v.is_array());
        value.inspect(|_| _ = used.borrow_mut().insert(name.into()))
    };
    for item in &mut all.items {
        visit_all(&all.config.var_reference, &mut item.object, None, |value| {
            match value {
                Value::Array(list) => list.iter_mut().for_each(|one| replace(one, &lookup)),
                Value::Object(map) => map.values_mut().for_each(|one| replace(one, &lookup)),
                one => replace(one, &lookup),
            }
            Ok(())
        })?;
    }
    let used = used.into_inner();
    let unused: Vec<&str> = values
        .keys()
        .copied()
        .filter(|name| !used.contains(*name))
        .collect();
    if !unused.is_empty() {
        let now = crate::print::age::log_time();
        eprintln!(
            "{now} well-defined vars that were never replaced: {}",
            unused.join(",")
        );
    }
    Ok(())
}

fn replace<'a>(value: &mut Value, lookup: &impl Fn(&str) -> Option<&'a Value>) {
    if let Some(text) = value.as_str() {
        *value = expanded(text, lookup);
    }
}

/// A text with its variables replaced; one that is nothing but a variable has the variable's type.
fn expanded<'a>(text: &str, lookup: &impl Fn(&str) -> Option<&'a Value>) -> Value {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(more) = rest.strip_prefix('$') {
            out.push('$');
            rest = more;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|r| r.split_once(')'));
        let Some((name, more)) = name else {
            out.push('$');
            continue;
        };
        match lookup(name) {
            Some(value) if text == format!("$({name})") => return value.clone(),
            Some(Value::String(value)) => out += value,
            Some(value) => out += &value.to_string(),
            None => out += &format!("$({name})"),
        }
        rest = more;
    }
    json!(out + rest)
}
