//! Gathers what the types and their fields are for, out of the source of `k8s-openapi`, where each type's schema stands in words.
//!
//! The same words can be had by its feature `schemars`: that costs a minute of compiling, and 4 MB of the program that make them at run time.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of a crate's source: in cargo's cache of the registry, else wherever cargo says that it is.
fn source(package: &str) -> PathBuf {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"))
        .expect("the workspace has a lock file");
    let entry = lock
        .split(&format!("name = \"{package}\"\nversion = \""))
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let version = entry.unwrap_or_else(|| panic!("Cargo.lock names {package}"));
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut cached = registries
        .into_iter()
        .flatten()
        .flatten()
        .map(|registry| registry.path().join(format!("{package}-{version}")));
    cached
        .find(|folder| folder.join("src").is_dir())
        .unwrap_or_else(|| told(package))
}

fn told(package: &str) -> PathBuf {
    let (cargo, target) = (
        env::var_os("CARGO").expect("cargo sets CARGO"),
        env::var("TARGET").expect("cargo sets TARGET"),
    );
    let metadata = Command::new(cargo)
        .args([
            "metadata",
            "--format-version=1",
            "--filter-platform",
            &target,
        ])
        .output()
        .expect("cargo metadata runs");
    let text = String::from_utf8_lossy(&metadata.stdout);
    let entry = text
        .split(&format!("\"name\":\"{package}\",\"version\":"))
        .nth(1);
    let manifest = entry
        .and_then(|entry| entry.split("\"manifest_path\":\"").nth(1))
        .and_then(|rest| rest.split('"').next());
    let manifest = manifest.unwrap_or_else(|| {
        panic!(
            "cargo metadata tells where {package} is: {}",
            String::from_utf8_lossy(&metadata.stderr)
        )
    });
    Path::new(manifest)
        .parent()
        .expect("a manifest is in a folder")
        .to_path_buf()
}

/// The literal that ends a line such as `"description": "…",`.
fn literal<'t>(line: &'t str, before: &str) -> Option<&'t str> {
    let rest = line.trim_start().strip_prefix(before)?;
    rest.trim_end()
        .trim_end_matches([',', ';', ')'])
        .trim_end_matches(".into(")
        .strip_suffix('"')
}

/// The name with which a line at this depth opens something.
fn opened(line: &str, depth: usize) -> Option<&str> {
    let name = line.strip_prefix(&" ".repeat(depth))?.strip_prefix('"')?;
    let (name, rest) = name.split_once("\": ")?;
    rest.starts_with(['{', '(']).then_some(name)
}

/// One line `=TYPE<tab>WORDS` a type, then one line `FIELD<tab>WORDS` a field; words as Rust's literals have them.
fn gather(folder: &Path, out: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("the crate's folder can be read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(&path, out);
            continue;
        }
        let text = fs::read_to_string(&path).expect("the crate's files can be read");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim_start().starts_with("fn schema_name()")
                && let Some(name) = lines.next().and_then(|line| literal(line, "\""))
            {
                schema(name, &mut lines, out);
            }
        }
    }
}

/// The words of one type's schema, which is what comes next.
fn schema<'t>(name: &str, lines: &mut impl Iterator<Item = &'t str>, out: &mut String) {
    let (mut field, mut of_type, mut fields) = (None, "", String::new());
    for line in lines {
        if line == "}" {
            break;
        }
        if let Some(name) = opened(line, 16) {
            field = Some(name);
        }
        let words = literal(line, "\"description\": \"").or_else(|| {
            literal(
                line,
                "schema_obj.ensure_object().insert(\"description\".into(), \"",
            )
        });
        match (words, field) {
            (Some(words), None) if of_type.is_empty() => of_type = words,
            (Some(words), Some(name)) => {
                writeln!(fields, "{name}\t{words}").expect("a string takes what is written");
                field = None;
            }
            _ => {}
        }
    }
    write!(out, "={name}\t{of_type}\n{fields}").expect("a string takes what is written");
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut out = String::new();
    gather(&source("k8s-openapi").join("src/v1_36"), &mut out);
    assert!(
        out.contains("=io.k8s.api.core.v1.Pod\t"),
        "the source of k8s-openapi has another form than expected"
    );
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("descriptions.txt"), out)
        .expect("the output folder can be written");
}
