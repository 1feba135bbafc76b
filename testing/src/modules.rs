//! Whether the modules of a crate stand in layers.
//!
//! Invariant: in every folder, what one module uses of its siblings forms no circle; what is only there for tests does not count, nor does
//! what a folder's own file and the files below it use of each other. The crate's own file counts among its modules: what it defines is used by nobody
//! below that it uses itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// The name of the crate's own file among its modules.
const ROOT: &str = "lib.rs";

type Names = Vec<String>;
/// Of each folder (by its module's path): which of its modules uses which, and an example of where.
type Edges = BTreeMap<Names, BTreeMap<String, BTreeMap<String, String>>>;

/// The circles among the modules of the crate in this folder, each told with a place for each step; none is what a test wants.
pub fn circles(crate_folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    collect(&crate_folder.join("src"), &mut Vec::new(), &mut files)?;
    let known: BTreeSet<Names> = files.iter().map(|file| file.module.clone()).collect();
    let root = files.iter().find(|file| file.module.is_empty());
    let exported = root.map_or_else(BTreeMap::new, |file| exports(&file.text));
    let mut edges = Edges::new();
    for file in &files {
        for path in paths(&file.text, &file.module, &known) {
            note(&mut edges, file, &path, &known, &exported);
        }
    }
    Ok(edges
        .iter()
        .flat_map(|(folder, uses)| rings(folder, uses))
        .collect())
}

struct File {
    module: Names,
    shown: String,
    /// Without comments, strings and what is only there for tests.
    text: String,
}

fn collect(folder: &Path, module: &mut Names, files: &mut Vec<File>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let stem = name.strip_suffix(".rs");
        if stem.unwrap_or(&name) == "tests" {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            collect(&path, module, files)?;
            module.pop();
        } else if let Some(stem) = stem {
            let mut module = module.clone();
            if stem != "mod" && !(module.is_empty() && matches!(stem, "lib" | "main")) {
                module.push(stem.into());
            }
            let (shown, text) = (
                path.display().to_string(),
                bare(&fs::read_to_string(&path)?),
            );
            files.push(File {
                module,
                shown,
                text,
            });
        }
    }
    Ok(())
}

/// The text without comments, strings, and items for tests alone.
fn bare(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string(rest)
        } else if let Some(raw) = raw_string(rest, &out) {
            raw
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else if rest.starts_with("#[cfg(test)]") {
            item(rest)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    out
}

/// How long the string literal is that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The same of a raw one, if it is one.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let body = text.strip_prefix('r')?.trim_start_matches('#');
    let hashes = text.len() - body.len() - 1;
    body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let from = hashes + 2;
    Some(
        text[from..]
            .find(&end)
            .map_or(text.len(), |at| from + at + end.len()),
    )
}

/// How long the item is that the attribute at the head of `text` belongs to: to its `;`, or to the end of its braces.
fn item(text: &str) -> usize {
    let (mut depth, mut at) = (0_i32, 0);
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' => {
                at += string(&text[at..]);
                continue;
            }
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
        at += c.len_utf8();
    }
    text.len()
}

/// The names that the crate's own file exports from elsewhere, each with its path: `crate` first when it is one of its own modules.
fn exports(text: &str) -> BTreeMap<String, Names> {
    let mut found = BTreeMap::new();
    for (at, _) in text.match_indices("pub use ") {
        for path in tree(text[at + 8..].split(';').next().unwrap_or("")) {
            if let Some(name) = path.last() {
                found.insert(name.clone(), path.clone());
            }
        }
    }
    found
}

/// All paths that a tree of `use`, or a path in code, stands for.
fn tree(text: &str) -> Vec<Names> {
    let text = text.trim();
    let Some((head, inner)) = text.split_once('{') else {
        let names = text
            .split("::")
            .map(|part| part.split_whitespace().next().unwrap_or(""));
        return vec![
            names
                .filter(|n| !n.is_empty())
                .map(str::to_string)
                .collect(),
        ];
    };
    let head: Names = head
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_string)
        .collect();
    let (mut all, mut depth, mut begun) = (Vec::new(), 0_i32, 0);
    for (at, c) in inner.char_indices() {
        let ends = depth == 0 && matches!(c, ',' | '}');
        if ends {
            let parts = tree(&inner[begun..at])
                .into_iter()
                .filter(|part| !part.is_empty());
            all.extend(parts.map(|part| head.iter().cloned().chain(part).collect()));
            begun = at + 1;
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    all
}

/// Every path within the crate that the file uses, from the crate's root.
fn paths(text: &str, module: &Names, known: &BTreeSet<Names>) -> Vec<Names> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("::") {
        let head_at = text[..at]
            .rfind(|c| !word(c))
            .map_or(0, |before| before + 1);
        let head = &text[head_at..at];
        if text[..head_at].ends_with("::") || head.is_empty() {
            continue;
        }
        let child = || {
            module
                .iter()
                .cloned()
                .chain([head.to_string()])
                .collect::<Names>()
        };
        if !matches!(head, "crate" | "self" | "super") && !known.contains(&child()) {
            continue;
        }
        // a tree is told by its braces; one path ends with what can be no part of a name
        let rest = &text[head_at..];
        let path_end = rest.find(|c| !word(c) && c != ':').unwrap_or(rest.len());
        let whole = match rest[path_end..].starts_with('{') && rest[..path_end].ends_with("::") {
            true => &rest[..rest.find(';').unwrap_or(rest.len())],
            false => &rest[..path_end],
        };
        found.extend(tree(whole).into_iter().map(|path| absolute(path, module)));
    }
    found
}

fn absolute(path: Names, module: &Names) -> Names {
    let mut base = module.clone();
    let mut rest = path.as_slice();
    while let [head, tail @ ..] = rest {
        match head.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = tail;
    }
    base.extend_from_slice(rest);
    base
}

/// Notes what `file` uses with `path`, among the modules of the folder where the two part.
fn note(
    edges: &mut Edges,
    file: &File,
    path: &[String],
    known: &BTreeSet<Names>,
    exported: &BTreeMap<String, Names>,
) {
    let Some(first) = path.first() else { return };
    let is_module = |path: &[String]| known.iter().any(|module| module.starts_with(path));
    let mut target = path.to_vec();
    if !is_module(&path[..1]) {
        // a name of the crate's own file: its own, or one of a module or another crate
        target = match exported.get(first) {
            Some(from) if is_module(&absolute(from.clone(), &Names::new())[..1]) => {
                absolute(from.clone(), &Names::new())
            }
            Some(_) => return,
            None => vec![ROOT.to_string()],
        };
    }
    while target.len() > 1 && !is_module(&target) {
        target.pop();
    }
    let own = if file.module.is_empty() {
        vec![ROOT.to_string()]
    } else {
        file.module.clone()
    };
    let common = own.iter().zip(&target).take_while(|(a, b)| a == b).count();
    if let (Some(from), Some(to)) = (own.get(common), target.get(common)) {
        edges
            .entry(own[..common].to_vec())
            .or_default()
            .entry(from.clone())
            .or_default()
            .entry(to.clone())
            .or_insert_with(|| format!("{} uses {}", file.shown, path.join("::")));
    }
}

/// The circles of one folder: of each set of modules that reach each other, the shortest way round from its first.
fn rings(folder: &[String], uses: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for start in uses.keys() {
        if told.contains(start) {
            continue;
        }
        let Some(ring) = way_round(start, uses) else {
            continue;
        };
        let steps: Vec<&str> = ring
            .iter()
            .zip(ring.iter().cycle().skip(1))
            .filter_map(|(from, to)| Some(uses.get(*from)?.get(*to)?.as_str()))
            .collect();
        let place = if folder.is_empty() {
            "the crate".into()
        } else {
            folder.join("::")
        };
        found.push(format!(
            "{place}: {} ({})",
            ring.join(" → "),
            steps.join("; ")
        ));
        told.extend(ring.into_iter().map(str::to_string));
    }
    found
}

fn way_round<'a>(
    start: &'a str,
    uses: &'a BTreeMap<String, BTreeMap<String, String>>,
) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last().and_then(|last| uses.get(*last));
        for next in last.into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.as_str()) {
                ways.push_back(way.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a crate of these files.
    fn found(name: &str, files: &[(&str, &str)]) -> Vec<String> {
        let folder =
            std::env::temp_dir().join(format!("skiff-modules-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = folder.join("src").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = circles(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let short = |text: String| text.split(" (").next().unwrap_or("").to_string();
        found.into_iter().map(short).collect()
    }

    #[test]
    fn circles_are_found_in_every_folder() {
        for (name, files, expected) in [
            (
                "layers",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", ""),
                ][..],
                &[][..],
            ),
            (
                "two",
                &[
                    ("a.rs", "use crate::{x, b::B};"),
                    ("b.rs", "fn f() { crate::a::g(\"}\") }"),
                ],
                &["the crate: a → b"],
            ),
            (
                "tests",
                &[
                    ("a.rs", "use crate::b;"),
                    (
                        "b.rs",
                        "#[cfg(test)]\nmod tests { use crate::a; }\n// crate::a::b\nconst A: &str = \"crate::a::b\";",
                    ),
                ],
                &[],
            ),
            (
                "three",
                &[
                    ("a.rs", "use crate::b::B;"),
                    ("b/mod.rs", "mod c;"),
                    ("b/c.rs", "use crate::{d::{E, F}};"),
                    ("d.rs", "use super::a::A;"),
                ],
                &["the crate: a → b → d"],
            ),
            (
                "below",
                &[
                    ("a/mod.rs", "mod b; mod c; use self::b::B;"),
                    ("a/b.rs", "use super::{A, c::C};"),
                    ("a/c.rs", "use crate::a::b::B;"),
                ],
                &["a: b → c"],
            ),
            (
                "root",
                &[
                    ("lib.rs", "mod a; pub struct Own; use a::A;"),
                    ("a.rs", "use crate::Own;"),
                ],
                &["the crate: a → lib.rs"],
            ),
            (
                "exported",
                &[
                    ("lib.rs", "mod a; mod b; pub use other::Own; pub use b::B;"),
                    ("a.rs", "use crate::{Own, B};"),
                    ("b.rs", "use crate::a::A;"),
                ],
                &["the crate: a → b"],
            ),
        ] {
            assert_eq!(found(name, files), expected, "{name}");
        }
    }
}
