//! `create configmap`.
//! Invariant: texts go into `data`, everything else into `binaryData`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_configmap.go`.

use super::{GENERATOR, config_data};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::Result;
use crate::flags::{Csv, Listed};
use crate::generate;
use base64::Engine;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "configmap",
    aliases: &["cm"],
    usage: "NAME [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]",
    short: "Create a config map from a local file, directory or literal value",
    long: "Create a config map from files, folders and literal values.\n\n A file's name is its key unless another is given; of a folder each file whose name can be a key is taken.",
    examples: "
      # Every file of a folder
      kubectl create configmap my-config --from-file=path/to/bar
      # Files under keys of one's own
      kubectl create configmap my-config --from-file=key1=/path/to/bar/file1.txt
      # Literal values
      kubectl create configmap my-config --from-literal=key1=config1 --from-literal=key2=config2
      # Lines of KEY=VALUE
      kubectl create configmap my-config --from-env-file=path/to/foo.env",
    run: verb!(run: Sources),
    ..GENERATOR
};

/// The flags that name the data.
#[derive(clap::Args)]
#[group(skip)]
pub struct Sources {
    /// A file or a folder to take ([KEY=]PATH); may be repeated
    #[arg(long)]
    from_file: Vec<Csv>,
    /// A key and its value (KEY=VALUE); may be repeated
    #[arg(long)]
    from_literal: Vec<String>,
    /// A file with lines of KEY=VALUE
    #[arg(long)]
    from_env_file: Vec<Csv>,
    /// Append a hash of the data to the name
    #[arg(long)]
    pub append_hash: bool,
}

impl Sources {
    /// What they name, for an object of this kind and name.
    ///
    /// # Errors
    /// As `config_data::collect`.
    pub fn data(&self, kind: &str, name: &str) -> Result<config_data::Data> {
        let (files, envs) = (self.from_file.list(), self.from_env_file.list());
        config_data::collect(&files, &self.from_literal, &envs, kind, name)
    }
}

async fn run(ctx: With<Sources>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let data = f.data("ConfigMap", &name)?;
    let kind = generate::kind("", "v1", "configmaps", "ConfigMap", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    for (key, value) in data {
        match String::from_utf8(value) {
            Ok(text) => object["data"][key] = json!(text),
            Err(e) => {
                object["binaryData"][key] =
                    json!(base64::engine::general_purpose::STANDARD.encode(e.into_bytes()))
            }
        }
    }
    if f.append_hash {
        let mut canonical = json!({"kind": "ConfigMap", "name": name, "data": object.get("data").cloned().unwrap_or(Value::String(String::new()))});
        if object.get("data").is_none() {
            canonical["data"] = Value::Null;
        }
        if let Some(b) = object.get("binaryData") {
            canonical["binaryData"] = b.clone();
        }
        object["metadata"]["name"] =
            json!(format!("{name}-{}", config_data::name_hash(&canonical)));
    }
    generate::create(&ctx, &kind, object, "failed to create configmap:").await
}
