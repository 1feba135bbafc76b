//! From what the user typed to objects: types and names, selectors, files.
//! Invariant: each object comes with its resource and the file it was read from, so that every later message can name both.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource` (builder, visitor, helper).

pub mod builder;
pub mod files;
pub mod helper;
pub mod rows;
pub mod typo;

pub use builder::{Builder, Found};
pub use files::{Manifest, Validation};

use crate::discovery::Resource;
use serde_json::Value;

/// One object, or one list of objects, and where it belongs.
#[derive(Clone, Debug)]
pub struct Info {
    pub resource: Resource,
    pub namespace: String,
    pub name: String,
    pub object: Value,
    /// The file it was read from; empty if it came from the server.
    pub source: String,
    /// Where its fields stand in that file.
    pub lines: std::rc::Rc<std::collections::HashMap<String, usize>>,
}

impl Info {
    /// `kind.group/name`.
    pub fn name_line(&self) -> String {
        format!("{}/{}", self.resource.kind_name(), self.name)
    }
    /// `plural/name`, as some messages say.
    pub fn object_name(&self) -> String {
        format!("{}/{}", self.resource.plural, self.name)
    }
    pub fn path(&self) -> String {
        self.resource.object(&self.namespace, &self.name)
    }
}

/// Whether a value is a list of objects.
pub fn is_list(object: &Value) -> bool {
    object["items"].is_array() && object["kind"].as_str().is_some_and(|k| k.ends_with("List"))
}

/// The flags `-f`, `-R` and `-k`.
pub const FILE_FLAGS: &[crate::flags::Flag] = &[
    crate::flags::Flag::slice(
        "filename",
        'f',
        "A file, a folder or a URL with the objects; - for standard input",
    ),
    crate::flags::Flag::bool(
        "recursive",
        'R',
        false,
        "Also read the folders inside the folders that -f names",
    ),
    crate::flags::Flag::str(
        "kustomize",
        'k',
        "",
        "A folder with a kustomization.yaml to build; not together with -f or -R",
    ),
];
/// The flags `-f` and `-R` of verbs that read folders inside folders unless told.
pub const DEEP_FILE_FLAGS: &[crate::flags::Flag] = &[
    FILE_FLAGS[0],
    crate::flags::Flag::bool(
        "recursive",
        'R',
        true,
        "Also read the folders inside the folders that -f names",
    ),
];
/// The flag `-l`.
pub const SELECTOR: &[crate::flags::Flag] = &[crate::flags::Flag::str(
    "selector",
    'l',
    "",
    "Only objects with these labels: '=', '==', '!=', 'in', 'notin' and bare keys, separated by commas (-l a=b,'c in (d,e)')",
)];
/// The flag `--field-selector`.
pub const FIELD_SELECTOR: &[crate::flags::Flag] = &[crate::flags::Flag::str(
    "field-selector",
    '\0',
    "",
    "Only objects with these field values: '=', '==' and '!=', separated by commas. Which fields can be asked for depends on the kind",
)];
/// The flag `--dry-run`.
pub const DRY_RUN: &[crate::flags::Flag] = &[crate::flags::Flag::str(
    "dry-run",
    '\0',
    "none",
    "Must be \"none\", \"server\" or \"client\". With client, only show what would be sent; with server, have the server go through all but the writing",
)
.no_opt("unchanged")];
/// The flag `--chunk-size`.
pub const CHUNKS: &[crate::flags::Flag] = &[crate::flags::Flag::int(
    "chunk-size",
    '\0',
    "500",
    "How many objects to ask for at a time; 0 for all at once",
)];
