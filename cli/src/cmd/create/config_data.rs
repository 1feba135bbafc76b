//! The data of config maps and secrets: files, folders, literals and env files.
//! Invariant: a key stands once, and is one that the server takes.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_configmap.go` and `util/env_file.go`.

use crate::error::{Error, Result, bail, go_io, message, quote};
use std::path::Path;

/// Keys with their values, in the order given.
pub type Data = Vec<(String, Vec<u8>)>;

/// Why a key is none that the server would take; nothing if it is.
fn wrong_key(key: &str) -> Vec<String> {
    const LONGEST: usize = 253;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let mut wrong = Vec::new();
    if key.len() > LONGEST {
        wrong.push(format!("must be no more than {LONGEST} characters"));
    }
    if key.is_empty() || !key.bytes().all(fits) {
        wrong.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".into());
    }
    match key {
        "." | ".." => wrong.push(format!("must not be '{key}'")),
        _ if key.starts_with("..") => wrong.push("must not start with '..'".into()),
        _ => {}
    }
    wrong
}

/// Collects everything that the flags name.
///
/// # Errors
/// Files that cannot be read, keys that are odd or stand twice. `what` is the kind, for the messages.
pub fn collect(
    files: &[String],
    literals: &[String],
    env_files: &[String],
    what: &str,
    name: &str,
) -> Result<Data> {
    if !env_files.is_empty() && (!files.is_empty() || !literals.is_empty()) {
        bail!("from-env-file cannot be combined with from-file or from-literal");
    }
    let mut data = Data::new();
    let mut add = |key: String, value: Vec<u8>| {
        let wrong = wrong_key(&key);
        let shown = quote(&key);
        match what {
            _ if wrong.is_empty() => {}
            "ConfigMap" => bail!(
                "{shown} is not a valid key name for a {what}: {}",
                wrong.join(",")
            ),
            _ => bail!(
                "{shown} is not valid key name for a {what} {}",
                wrong.join(";")
            ),
        }
        if data.iter().any(|(k, _)| *k == key) {
            return Err(Error::msg(match what {
                "ConfigMap" => format!(
                    "cannot add key {}, another key by that name already exists in Data for ConfigMap {}",
                    quote(&key),
                    quote(name)
                ),
                _ => format!("cannot add key {key}, another key by that name already exists"),
            }));
        }
        data.push((key, value));
        Ok(())
    };
    for source in literals {
        let (k, v) = source
            .split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .ok_or_else(|| message!("invalid literal source {source}, expected key=value"))?;
        let v = v
            .strip_prefix(['"', '\''])
            .filter(|_| v.len() > 1 && v.chars().next() == v.chars().last())
            .map_or(v, |r| &r[..r.len() - 1]);
        add(k.into(), v.into())?;
    }
    for source in files {
        from_file(source, &mut add)?;
    }
    for source in env_files {
        for (k, v) in env_file(source)? {
            add(k, v.into_bytes())?;
        }
    }
    Ok(data)
}

fn from_file(source: &str, add: &mut impl FnMut(String, Vec<u8>) -> Result<()>) -> Result<()> {
    let (key, path) = match source.split('=').collect::<Vec<_>>().as_slice() {
        [p] => (None, (*p).to_string()),
        ["", _] => {
            bail!(
                "key name for file path {} missing",
                source.trim_start_matches('=')
            );
        }
        [_, ""] => {
            bail!(
                "file path for key name {} missing",
                source.trim_end_matches('=')
            );
        }
        [k, p] => (Some((*k).to_string()), (*p).to_string()),
        _ => bail!("key names or file paths cannot contain '='"),
    };
    let fail = |e: std::io::Error| message!("error reading {path}: {}", go_io(&e));
    let meta = std::fs::metadata(&path).map_err(fail)?;
    if !meta.is_dir() {
        let base = Path::new(&path)
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or(&path)
            .to_string();
        return add(key.unwrap_or(base), std::fs::read(&path).map_err(fail)?);
    }
    if key.is_some() {
        bail!("cannot give a key name for a directory path");
    }
    let mut entries: Vec<_> = std::fs::read_dir(&path)
        .map_err(fail)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries.into_iter().filter(|e| e.path().is_file()) {
        add(
            entry.file_name().to_string_lossy().into_owned(),
            std::fs::read(entry.path()).map_err(fail)?,
        )?;
    }
    Ok(())
}

/// Lines of `KEY=VALUE`; a key alone takes its value from the environment.
///
/// # Errors
/// A file that cannot be read, a key that cannot be a variable.
pub fn env_file(path: &str) -> Result<Vec<(String, String)>> {
    let fail = |e: std::io::Error| message!("error reading {path}: {}", go_io(&e));
    if std::fs::metadata(path).map_err(fail)?.is_dir() {
        bail!("env config file cannot be a directory");
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    let mut out = Vec::new();
    for (at, line) in crate::variables::lines(&bytes) {
        let line = line.map_err(|line| {
            let shown: Vec<String> = line.iter().map(u8::to_string).collect();
            message!(
                "env file {path} contains invalid utf8 bytes at line {}: [{}]",
                at + 1,
                shown.join(" ")
            )
        })?;
        let (key, value) = match line.split_once('=') {
            Some((k, v)) => (k, v.to_string()),
            None => (line, std::env::var(line).unwrap_or_default()),
        };
        let valid = key.chars().enumerate().all(|(i, c)| {
            c == '_'
                || c == '-'
                || c == '.'
                || c.is_ascii_alphabetic()
                || (i > 0 && c.is_ascii_digit())
        }) && !key.is_empty();
        if !valid {
            bail!(
                "{} is not a valid key name: a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')",
                quote(key)
            );
        }
        out.push((key.into(), value));
    }
    Ok(out)
}

/// The suffix that `--append-hash` gives a name: the same as upstream's for the same data.
pub fn name_hash(canonical: &serde_json::Value) -> String {
    use sha2::{Digest, Sha256};
    let text = crate::print::json::compact(canonical);
    let hex = hex::encode(Sha256::digest(text.as_bytes()));
    hex.chars()
        .take(10)
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_none_are_told_of() {
        for (literal, what, why) in [
            (
                "..=x",
                "ConfigMap",
                "\"..\" is not a valid key name for a ConfigMap: must not be '..'",
            ),
            (
                "..a=x",
                "Secret",
                "\"..a\" is not valid key name for a Secret must not start with '..'",
            ),
        ] {
            let told = collect(&[], &[literal.into()], &[], what, "c").unwrap_err();
            assert_eq!(told.to_string(), why);
        }
    }

    #[test]
    fn literals_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.txt");
        std::fs::write(&path, "hi").unwrap();
        let shown = path.display().to_string();
        let got = collect(
            &[shown.clone(), format!("k={shown}")],
            &["a=1=2".into(), "q=\"x\"".into()],
            &[],
            "ConfigMap",
            "c",
        )
        .unwrap();
        let texts: Vec<(String, String)> = got
            .into_iter()
            .map(|(k, v)| (k, String::from_utf8(v).unwrap()))
            .collect();
        assert_eq!(
            texts,
            [
                ("a".into(), "1=2".into()),
                ("q".into(), "x".into()),
                ("x.txt".into(), "hi".into()),
                ("k".into(), "hi".into())
            ] as [(String, String); 4]
        );
        assert_eq!(
            collect(&[], &["a".into()], &[], "ConfigMap", "c")
                .unwrap_err()
                .to_string(),
            "invalid literal source a, expected key=value"
        );
        assert!(collect(&[], &["a=1".into(), "a=2".into()], &[], "ConfigMap", "c").is_err());
    }
}
