//! Writes changes back: each entry into the file that it came from, new ones into the first file there is.
//! Invariant: a file that nothing changed in is not touched, and a reader never sees half a file.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/clientcmd/config.go`.

use super::{Config, Entry, document};
use crate::error::{Error, Result};
use crate::replace_file::replace_file;
use crate::typed::Read;
use serde_json::Value;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

impl Config {
    /// Writes the difference between what was read and this.
    ///
    /// # Errors
    /// A file that is locked by another, or cannot be written.
    pub fn save(&self, before: &Config) -> Result<()> {
        let default = self.default_file();
        let mut files: Vec<PathBuf> = Vec::new();
        for (list, _) in super::LISTS {
            for e in self.list(list) {
                let old = before.get(list, &e.name);
                if old.is_none_or(|o| o.value != e.value) {
                    push(&mut files, &e.file);
                }
            }
            for gone in before
                .list(list)
                .iter()
                .filter(|o| self.get(list, &o.name).is_none())
            {
                push(&mut files, &gone.file);
            }
        }
        if self.current_context != before.current_context {
            for f in self.current_context_files(before, &default) {
                push(&mut files, &f);
            }
        }
        let told = self.preferences_file(before);
        if let Some(file) = &told {
            push(&mut files, file);
        }
        for file in &files {
            let preferences = if told.as_ref() == Some(file) {
                self.preferences.clone()
            } else {
                stored(file).at("preferences").clone()
            };
            self.save_file(file, before, &default, &preferences)?;
        }
        Ok(())
    }

    /// Where preferences that are others now go: the first file that has others.
    fn preferences_file(&self, before: &Config) -> Option<PathBuf> {
        if self.preferences == before.preferences {
            return None;
        }
        let differs = |file: &&PathBuf| *stored(file).at("preferences") != self.preferences;
        self.files.iter().find(differs).cloned()
    }

    /// The current context stands in the first file that names one, else in the default file.
    fn current_context_files(&self, before: &Config, default: &Path) -> Vec<PathBuf> {
        let naming = before.files.iter().find(|f| !stored_context(f).is_empty());
        vec![naming.cloned().unwrap_or_else(|| default.to_path_buf())]
    }

    fn save_file(
        &self,
        file: &Path,
        before: &Config,
        default: &Path,
        preferences: &Value,
    ) -> Result<()> {
        let of = |list: &[Entry]| -> Vec<Entry> {
            list.iter().filter(|e| e.file == *file).cloned().collect()
        };
        let current = if self.current_context != before.current_context
            && self
                .current_context_files(before, default)
                .iter()
                .any(|f| f == file)
        {
            self.current_context.clone()
        } else {
            stored_context(file)
        };
        let text = crate::yaml::write(&document(
            &of(&self.clusters),
            &of(&self.contexts),
            &of(&self.users),
            &current,
            preferences,
        ));
        replace(file, &text)
    }
}

fn push(files: &mut Vec<PathBuf>, file: &Path) {
    if !files.iter().any(|f| f == file) {
        files.push(file.to_path_buf());
    }
}

fn stored_context(file: &Path) -> String {
    stored(file).text("current-context").to_string()
}

/// What a file holds now; nothing if there is none.
fn stored(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let documents = crate::yaml::read_lax(&text).unwrap_or_default();
    let first = documents.into_iter().next();
    first.map_or(Value::Null, |document| document.value)
}

/// Puts the text in place of the file, under the lock file that kubectl uses too.
fn replace(file: &Path, text: &str) -> Result<()> {
    let fail = |e: std::io::Error| {
        Error::msg(format!(
            "open {}: {}",
            file.display(),
            crate::error::go_io(&e)
        ))
    };
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    let held = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&lock);
    if let Err(e) = held {
        let why = if e.kind() == std::io::ErrorKind::AlreadyExists {
            "file exists".to_string()
        } else {
            crate::error::go_io(&e)
        };
        return Err(Error::msg(format!(
            "open {}: {why}",
            Path::new(&lock).display()
        )));
    }
    let written = replace_file(file, 0o600, text.as_bytes());
    let unlocked = std::fs::remove_file(&lock);
    written.map_err(fail)?;
    unlocked.map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_entry_goes_back_to_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(
            &a,
            "{clusters: [{name: one, cluster: {server: x, extra: kept}}], current-context: c}",
        )
        .unwrap();
        std::fs::write(
            &b,
            "{clusters: [{name: two, cluster: {server: v}}, {name: one, cluster: {server: z}}]}",
        )
        .unwrap();
        let mut config = Config {
            files: vec![a.clone(), b.clone()],
            preferences: json!({}),
            ..Config::default()
        };
        for f in [&a, &b] {
            config
                .merge(&std::fs::read_to_string(f).unwrap(), f)
                .unwrap();
        }
        let before = config.clone();
        config
            .clusters
            .iter_mut()
            .find(|e| e.name == "two")
            .unwrap()
            .value["server"] = json!("w");
        config.save(&before).unwrap();
        assert!(std::fs::read_to_string(&b).unwrap().contains("server: w"));
        assert!(std::fs::read_to_string(&a).unwrap().contains("extra: kept"));
        let before = config.clone();
        config.current_context = "d".into();
        config.save(&before).unwrap();
        assert!(
            std::fs::read_to_string(&a)
                .unwrap()
                .contains("current-context: d\n")
        );
        assert!(std::fs::read_to_string(&a).unwrap().contains("extra: kept"));
    }

    #[test]
    fn a_file_with_keys_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        replace(&file, "key").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "key");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
