//! The kubeconfig: which files, merged how, and what a context in them comes to.
//! Invariant: what is read is kept whole (unknown fields too), so that changing one entry never loses another.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/clientcmd` (loader, client_config, validation).
//!
//! Not `kube::config::Kubeconfig`: it keeps only the fields that it knows and not which file an entry came from, it has none of kubectl's overrides,
//! and what it says of a broken file is not what kubectl says.

pub mod fields;
mod resolve;
mod save;
mod validate;

pub use resolve::{Credentials, Overrides, Resolved};

use crate::error::{Error, Result};
use crate::typed::Read;
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};

/// The user's home folder.
pub fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The three named lists of a kubeconfig: the list's field, and its entry's field.
pub const LISTS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("contexts", "context"),
    ("users", "user"),
];

/// What is written of an entry even where it is empty.
const ALWAYS: &[(&str, &str)] = &[
    ("clusters", "server"),
    ("contexts", "cluster"),
    ("contexts", "user"),
];

/// One named entry, and the file that it stands in.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub value: Value,
    pub file: PathBuf,
}

/// All files, merged: the first file that has an entry wins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub clusters: Vec<Entry>,
    pub contexts: Vec<Entry>,
    pub users: Vec<Entry>,
    pub current_context: String,
    pub preferences: Value,
    /// The files that were looked for, in order.
    pub files: Vec<PathBuf>,
    /// The file that `--kubeconfig` named and that is not there: only `config` makes do without it.
    pub missing: Option<PathBuf>,
}

impl Config {
    /// Reads the files that the flag, else `$KUBECONFIG`, else the home folder name.
    ///
    /// # Errors
    /// A file that cannot be read or is no kubeconfig.
    pub fn load(flag: &str) -> Result<Config> {
        let variable = std::env::var("KUBECONFIG").unwrap_or_default();
        let mut config = Config {
            preferences: json!({}),
            ..Config::default()
        };
        if !flag.is_empty() {
            config.files = vec![PathBuf::from(flag)];
        } else if !variable.is_empty() {
            for p in std::env::split_paths(&variable).filter(|p| !p.as_os_str().is_empty()) {
                if !config.files.contains(&p) {
                    config.files.push(p);
                }
            }
        } else {
            config.files = vec![home().join(".kube/config")];
        }
        for file in config.files.clone() {
            match std::fs::read_to_string(&file) {
                Ok(text) => config.merge(&text, &file)?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    config.missing = (!flag.is_empty()).then_some(file)
                }
                Err(e) => {
                    return Err(Error::msg(format!(
                        "error loading config file \"{}\": {}",
                        file.display(),
                        crate::error::unread(&file, &e)
                    )));
                }
            }
        }
        config.sort();
        Ok(config)
    }

    /// This kubeconfig, for verbs that need one.
    ///
    /// # Errors
    /// The file that the flag named is not there.
    pub fn present(&self) -> Result<&Config> {
        match &self.missing {
            Some(file) => Err(Error::msg(format!(
                "stat {}: no such file or directory",
                file.display()
            ))),
            None => Ok(self),
        }
    }

    pub(crate) fn merge(&mut self, text: &str, file: &Path) -> Result<()> {
        let bad = |e: String| {
            Error::msg(format!(
                "error loading config file \"{}\": {e}",
                file.display()
            ))
        };
        let documents = crate::yaml::read_lax(text)
            .map_err(|e| bad(format!("yaml: {}", e.trim_start_matches("yaml: "))))?;
        let Some(document) = documents.into_iter().next() else {
            return Ok(());
        };
        let root = match document.value {
            Value::Null => return Ok(()),
            Value::Object(m) => m,
            other => {
                return Err(bad(crate::typed::no_version_and_kind(&other)));
            }
        };
        let of = |field: &str| {
            root.get(field)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_string()
        };
        // a file without either is taken for one, as it always was
        if let (version, kind) = (of("apiVersion"), of("kind"))
            && ((!kind.is_empty() && kind != "Config") || !matches!(version.as_str(), "" | "v1"))
        {
            let scheme = "in scheme \"k8s.io/client-go/tools/clientcmd/api/latest/latest.go:50\"";
            return Err(bad(format!(
                "no kind {} is registered for version {} {scheme}",
                crate::error::quote(&kind),
                crate::error::quote(&version)
            )));
        }
        let mut whole = Value::Object(root);
        fields::check(&mut whole).map_err(bad)?;
        let Value::Object(mut root) = whole else {
            return Ok(());
        };
        for (list, field) in LISTS {
            let entries = root.remove(list).unwrap_or(Value::Null);
            for e in entries.as_array().into_iter().flatten() {
                let name = e.text("name").to_string();
                let value = if e[field].is_object() {
                    e[field].clone()
                } else {
                    json!({})
                };
                let target = self.list_mut(list);
                if !target.iter().any(|x| x.name == name) {
                    target.push(Entry {
                        name,
                        value,
                        file: file.to_path_buf(),
                    });
                }
            }
        }
        if self.current_context.is_empty() {
            self.current_context = root
                .get("current-context")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_string();
        }
        if let Some(Value::Object(p)) = root.remove("preferences") {
            let mine = self.preferences.as_object_mut();
            if let Some(mine) = mine {
                for (k, v) in p {
                    mine.entry(k).or_insert(v);
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        for (list, _) in LISTS {
            self.list_mut(list).sort_by(|a, b| a.name.cmp(&b.name));
        }
    }

    /// One of the three lists, by its field's name.
    pub fn list(&self, list: &str) -> &Vec<Entry> {
        match list {
            "clusters" => &self.clusters,
            "contexts" => &self.contexts,
            _ => &self.users,
        }
    }
    pub fn list_mut(&mut self, list: &str) -> &mut Vec<Entry> {
        match list {
            "clusters" => &mut self.clusters,
            "contexts" => &mut self.contexts,
            _ => &mut self.users,
        }
    }
    pub fn get(&self, list: &str, name: &str) -> Option<&Entry> {
        self.list(list).iter().find(|e| e.name == name)
    }

    /// The whole as one kubeconfig document.
    pub fn document(&self) -> Value {
        document(
            &self.clusters,
            &self.contexts,
            &self.users,
            &self.current_context,
            &self.preferences,
        )
    }

    /// The name of the context in use: the flag's, else the current one.
    pub fn context_name<'a>(&'a self, flag: &'a str) -> &'a str {
        if flag.is_empty() {
            &self.current_context
        } else {
            flag
        }
    }

    /// Where a change to an entry goes: its own file, else the first that exists, else the last.
    pub fn default_file(&self) -> PathBuf {
        let existing = self.files.iter().find(|f| f.exists());
        existing
            .or(self.files.last())
            .cloned()
            .unwrap_or_else(|| home().join(".kube/config"))
    }

    /// How messages name the file that changes go to.
    pub fn shown_file(&self) -> String {
        self.default_file().display().to_string()
    }
}

/// Where a path of a kubeconfig leads: one that begins nowhere begins in the folder of its file.
pub fn beside(file: &Path, path: &str) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.into());
    clean(&folder.join(path))
}

/// A path without the parts that lead nowhere or back.
pub fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

fn prune(value: &Value) -> Value {
    match value {
        Value::Object(m) => Value::Object(
            m.iter()
                .filter(|(k, v)| !is_empty(v) || k.as_str() == "provideClusterInfo")
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Map<_, _>>(),
        ),
        v => v.clone(),
    }
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(m) => m.is_empty(),
        Value::Number(_) => false,
    }
}

/// A kubeconfig document of these entries; empty fields are left out.
pub fn document(
    clusters: &[Entry],
    contexts: &[Entry],
    users: &[Entry],
    current: &str,
    preferences: &Value,
) -> Value {
    let mut root = json!({"apiVersion": "v1", "kind": "Config", "current-context": current});
    for ((list, field), entries) in LISTS.iter().zip([clusters, contexts, users]) {
        let items: Vec<Value> = entries
            .iter()
            .map(|e| {
                let mut value = prune(&e.value);
                if *list == "users" {
                    fields::complete_user(&mut value);
                }
                for (_, field) in ALWAYS.iter().filter(|(of, _)| of == list) {
                    if value.get(*field).is_none() {
                        value[*field] = json!("");
                    }
                }
                json!({"name": e.name, *field: value})
            })
            .collect();
        root[*list] = if items.is_empty() {
            Value::Null
        } else {
            Value::Array(items)
        };
    }
    let preferences = prune(preferences);
    if !is_empty(&preferences) {
        root["preferences"] = preferences;
    }
    root
}
