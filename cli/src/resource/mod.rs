//! From what the user typed to objects: types and names, selectors, files.
//! Invariant: each object comes with its resource and the file it was read from, so that every later message can name both.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource` (builder, visitor, helper).

pub mod builder;
pub mod documents;
mod failures;
pub mod files;
pub mod helper;
mod judged;
pub mod rows;
pub mod typo;
mod web;

pub use builder::{Builder, Found};
pub use failures::Failures;
pub use files::{Manifest, Validation};

use crate::discovery::Resource;
use crate::flags::{Csv, Group, group};
use crate::typed::Read;
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
    /// An object that stands in no file.
    pub fn of(resource: Resource, namespace: &str, name: &str, object: Value) -> Info {
        Info {
            resource,
            namespace: namespace.into(),
            name: name.into(),
            object,
            source: String::new(),
            lines: Default::default(),
        }
    }
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
    object.at("items").is_array() && object.text_ptr("kind").is_some_and(|k| k.ends_with("List"))
}

/// The flags `-f` and `-R`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Folders {
    /// A file, a folder or a URL with the objects; - for standard input
    #[arg(long, short)]
    pub filename: Vec<Csv>,
    /// Also read the folders inside the folders that -f names
    #[arg(long, short = 'R')]
    pub recursive: bool,
}
/// The flags `-f`, `-R` and `-k`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Files {
    #[command(flatten)]
    pub folders: Folders,
    /// A folder with a kustomization.yaml to build; not together with -f or -R
    #[arg(long, short)]
    pub kustomize: String,
}
/// The flag `-l`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Selecting {
    /// Only objects with these labels: '=', '==', '!=', 'in', 'notin' and bare keys, separated by commas (-l a=b,'c in (d,e)')
    #[arg(long, short = 'l')]
    pub selector: String,
}
/// The flag `--field-selector`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct SelectingFields {
    /// Only objects with these field values: '=', '==' and '!=', separated by commas. Which fields can be asked for depends on the kind
    #[arg(long)]
    pub field_selector: String,
}
/// The flag `--dry-run`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct DryRunFlag {
    /// Must be "none", "server" or "client". With client, only show what would be sent; with server, have the server go through all but the writing
    #[arg(long, default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "unchanged")]
    pub dry_run: String,
}
/// The flag `--chunk-size`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Chunks {
    /// How many objects to ask for at a time; 0 for all at once
    #[arg(long, default_value = "500")]
    pub chunk_size: i64,
}
/// The flag `--all`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct All {
    /// All objects of the given types in the namespace
    #[arg(long)]
    pub all: bool,
}
/// The flag `-A`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct AllNamespaces {
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
}
/// The flag `--local`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Local {
    /// Change what files hold, without a server
    #[arg(long)]
    pub local: bool,
}

pub const FILE_FLAGS: Group = group::<Files>;
/// Without `-k`.
pub const FOLDER_FLAGS: Group = group::<Folders>;
/// Verbs that read folders inside folders unless told have this default.
pub const DEEP: (&str, &str) = ("recursive", "true");
pub const SELECTOR: Group = group::<Selecting>;
pub const FIELD_SELECTOR: Group = group::<SelectingFields>;
pub const DRY_RUN: Group = group::<DryRunFlag>;
pub const CHUNKS: Group = group::<Chunks>;
pub const ALL: Group = group::<All>;
pub const ALL_NAMESPACES: Group = group::<AllNamespaces>;
pub const LOCAL: Group = group::<Local>;
