//! `kustomize`: prints what a kustomization comes to.
//! Invariant: objects are printed in the order in which they would be applied.
//! Behaviour follows `sigs.k8s.io/kustomize/kustomize/v5/commands/build`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::discovery::split_api_version;
use crate::error::{Result, bail, message};
use crate::flags::Refused;
use crate::print;
use crate::typed::Read;
use serde_json::Value;
use std::path::Path;

pub static COMMAND: Command = Command {
    name: "kustomize",
    usage: "DIR [flags]",
    short: "Build a kustomization target from a directory or URL",
    long: "Print the objects that the kustomization in a folder comes to.",
    examples: "
      # In this folder
      kubectl kustomize
      # In another one
      kubectl kustomize /home/config/production",
    refused: &[
        Refused::switch("enable-helm", "charts are not taken as generators"),
        Refused::value("helm-command", "charts are not taken as generators"),
        Refused::value("helm-api-versions", "charts are not taken as generators"),
        Refused::value("helm-kube-version", "charts are not taken as generators"),
        Refused::switch("helm-debug", "charts are not taken as generators"),
        Refused::switch("enable-alpha-plugins", NO_PLUGINS),
        Refused::switch("as-current-user", NO_PLUGINS),
        Refused::value("env", NO_PLUGINS).short('e'),
        Refused::value("mount", NO_PLUGINS),
        Refused::switch("network", NO_PLUGINS),
        Refused::value("network-name", NO_PLUGINS),
    ],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Write to this file, or one file an object into this folder
    #[arg(long, short)]
    output: String,
    /// LoadRestrictionsNone lets kustomizations name files outside of their folders
    #[arg(long, default_value = "LoadRestrictionsRootOnly")]
    load_restrictor: String,
}

const NO_PLUGINS: &str = "generators and transformers that are programs are not run";

async fn run(ctx: With<Flags>) -> Result<()> {
    let dir = match ctx.args() {
        [] => ".",
        [d] => d,
        _ => bail!("specify one path to kustomization.yaml"),
    };
    match ctx.flags().load_restrictor.as_str() {
        "LoadRestrictionsRootOnly" => {}
        "LoadRestrictionsNone" => crate::kustomize::let_anywhere(),
        other => {
            bail!(
                "illegal flag value --load-restrictor {other}; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]"
            );
        }
    }
    let objects: Vec<Value> = crate::kustomize::manifests(dir)?
        .into_iter()
        .map(|m| m.map(|m| m.object))
        .collect::<Result<_>>()?;
    let whole = || {
        objects
            .iter()
            .map(crate::yaml::write)
            .collect::<Vec<_>>()
            .join("---\n")
    };
    let output = ctx.flags().output.as_str();
    if output.is_empty() {
        return print::put(&whole());
    }
    if Path::new(output).is_dir() {
        return files(&objects).into_iter().try_for_each(|(name, object)| {
            write(&Path::new(output).join(name), &crate::yaml::write(object))
        });
    }
    write(Path::new(output), &whole())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .map_err(|e| message!("open {}: {}", path.display(), crate::error::go_io(&e)))
}

/// A file's name for each object; with that of the namespace where there are several.
fn files(objects: &[Value]) -> Vec<(String, &Value)> {
    let namespace = |o: &Value| {
        let (group, version) = split_api_version(o.text("apiVersion"));
        let inside = !crate::kustomize::is_cluster_wide(group, version, o.text("kind"));
        inside.then(|| {
            o.at("metadata")
                .text_ptr("namespace")
                .unwrap_or("default")
                .to_lowercase()
        })
    };
    let mut spaces: Vec<String> = objects.iter().filter_map(namespace).collect();
    spaces.sort();
    spaces.dedup();
    let name = |o: &Value| {
        let of = |v: &Value| v.as_str().unwrap_or("").to_string();
        let version = of(o.at("apiVersion")).replacen('/', "_", 1);
        let own = format!(
            "{version}_{}_{}.yaml",
            of(o.at("kind")),
            of(o.at("metadata").at("name"))
        )
        .to_lowercase();
        match namespace(o).filter(|_| spaces.len() > 1) {
            Some(space) => format!("{space}_{own}"),
            None => own,
        }
    };
    objects.iter().map(|o| (name(o), o)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_file_an_object() {
        let object = |version: &str, kind: &str, metadata: Value| json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        let web = object(
            "apps/v1",
            "Deployment",
            json!({"name": "Web.x", "namespace": "one"}),
        );
        let all = [
            object("v1", "Namespace", json!({"name": "one"})),
            object("v1", "ConfigMap", json!({"name": "c"})),
            web.clone(),
        ];
        let names = |objects: &[Value]| {
            files(objects)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&all),
            [
                "v1_namespace_one.yaml",
                "default_v1_configmap_c.yaml",
                "one_apps_v1_deployment_web.x.yaml"
            ]
        );
        assert_eq!(names(&[web]), ["apps_v1_deployment_web.x.yaml"]);
    }
}
