//! `kustomize`: prints what a kustomization comes to.
//! Invariant: objects are printed in the order in which they would be applied.
//! Behaviour follows `sigs.k8s.io/kustomize/kustomize/v5/commands/build`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::discovery::split_api_version;
use crate::error::{Result, bail, message};
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
    /// Deprecated: how objects are ordered, legacy or none, where the kustomization does not say
    #[arg(long)]
    reorder: Option<String>,
    #[command(flatten)]
    _programs: Programs,
}

/// What programs and charts are run with. A kustomization that names some is refused: there is nothing that these flags could change.
#[derive(clap::Args)]
struct Programs {
    /// Run programs as this user
    #[arg(long = "as-current-user")]
    _as_current_user: bool,
    /// Run programs that kustomizations name
    #[arg(long = "enable-alpha-plugins")]
    _enable_alpha_plugins: bool,
    /// Make objects of charts
    #[arg(long = "enable-helm")]
    _enable_helm: bool,
    /// A variable of programs' environment; may be repeated
    #[arg(long = "env", short = 'e')]
    _env: Vec<String>,
    /// What charts are told that the server serves
    #[arg(long = "helm-api-versions")]
    _helm_api_versions: Vec<crate::flags::Csv>,
    /// The program that reads charts
    #[arg(long = "helm-command", default_value = "helm")]
    _helm_command: String,
    /// Have it tell what it does
    #[arg(long = "helm-debug")]
    _helm_debug: bool,
    /// The server's version that charts are told
    #[arg(long = "helm-kube-version")]
    _helm_kube_version: String,
    /// Files that programs see; may be repeated
    #[arg(long = "mount")]
    _mount: Vec<String>,
    /// Let programs use the network
    #[arg(long = "network")]
    _network: bool,
    /// Which network
    #[arg(long = "network-name", default_value = "bridge")]
    _network_name: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let reorder = ctx.flags().reorder.as_deref();
    if reorder.is_some() {
        eprintln!(
            "Flag --reorder has been deprecated, use the new 'sortOptions' field in kustomization.yaml instead."
        );
    }
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
    let sorts = match reorder {
        None | Some("legacy") => true,
        Some("none") => false,
        Some(other) => bail!("illegal flag value --reorder {other}; legal values: [legacy none]"),
    };
    let objects: Vec<Value> = crate::kustomize::ordered(dir, sorts)?
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
