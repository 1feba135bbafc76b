//! Generators and transformers that stand in files of their own.
//! Invariant: a file is read into the fields of its kind before anything is built; what does not fit is refused.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/plugins/loader` and `api/internal/builtins`.

use super::fields::{self, PLUGIN, UNSUPPORTED};
use super::item::{Id, Item};
use super::schema::Reader;
use super::specs::Spec;
use super::target::Gathered;
use super::{generate, patches, replace, transform};
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};
use std::path::Path;

/// A plugin with what its file says.
pub struct Plugin {
    id: Id,
    pub config: Value,
}

impl Plugin {
    /// # Errors
    /// A kind that is none of kustomize's, fields of another type, what is missing.
    pub fn read(object: &Value) -> Result<Plugin> {
        let id = Id::of(object);
        if id.version != "builtin" || !id.group.is_empty() {
            bail!(
                "external plugins disabled; unable to load external plugin '{}'",
                id.kind
            );
        }
        let Some(fields) = fields::plugin(&id.kind) else {
            if UNSUPPORTED.contains(&id.kind.as_str()) {
                bail!("plugins of the kind {:?} are not supported", id.kind);
            }
            bail!("unable to load builtin {}.builtin.[noGrp]", id.kind);
        };
        // These two are read by another reader, which looks at the case.
        let cased = matches!(
            id.kind.as_str(),
            "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer"
        );
        let reader = Reader { cased, ..PLUGIN };
        let plugin = Plugin {
            config: reader
                .read(object, fields)
                .map_err(|why| Self::fails(&id, &format!("{DECODING}: {why}")))?,
            id,
        };
        plugin.check()?;
        Ok(plugin)
    }

    pub fn kind(&self) -> &str {
        &self.id.kind
    }

    fn fails(id: &Id, why: &str) -> crate::error::Error {
        message!("plugin {id} fails configuration: {why}")
    }

    /// What has to be there.
    fn check(&self) -> Result<()> {
        let config = &self.config;
        let none = |fields: [&str; 2]| fields.iter().all(|f| config.some(f).is_none());
        let why = match self.kind() {
            "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer"
                if config.some("fieldSpecs").is_none() =>
            {
                "fieldSpecs is not expected to be nil".to_string()
            }
            "NamespaceTransformer" => match config.text("setRoleBindingSubjects") {
                "" | "defaultOnly" | "none" | "allServiceAccounts" => return Ok(()),
                mode => format!(
                    "invalid value {mode:?} for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" or \"allServiceAccounts\""
                ),
            },
            "PatchJson6902Transformer" if config.at("target").text("name").is_empty() => {
                "must specify the target name".into()
            }
            "PatchJson6902Transformer" if none(["path", "jsonOp"]) => {
                "empty file path and empty jsonOp".into()
            }
            "PatchStrategicMergeTransformer" if none(["paths", "patches"]) => {
                "empty file path and empty patch content".into()
            }
            _ => return Ok(()),
        };
        Err(Self::fails(&self.id, &why))
    }

    /// The object that a generator makes.
    ///
    /// # Errors
    /// As it does, and a kind that generates nothing.
    pub fn generate(&self, dir: &Path) -> Result<Item> {
        let kind = match self.kind() {
            "ConfigMapGenerator" => "ConfigMap",
            "SecretGenerator" => "Secret",
            other => bail!("plugin {other} does not generate"),
        };
        let mut args = self.config.clone();
        let meta = self.config.at("metadata");
        for field in ["name", "namespace"] {
            if args.text(field).is_empty() {
                args[field] = meta.at(field).clone();
            }
        }
        generate::one(dir, &args, kind, &Value::Null)
    }

    /// What a transformer changes.
    ///
    /// # Errors
    /// As it does, and a kind that transforms nothing.
    pub fn transform(&self, dir: &Path, all: &mut Gathered) -> Result<()> {
        let config = &self.config;
        let fields: Vec<Spec> = config.list("fieldSpecs").iter().map(Spec::read).collect();
        let items = &mut all.items;
        match self.kind() {
            "NamespaceTransformer" => transform::namespace(
                config.at("metadata").text("namespace"),
                &fields,
                config.text("setRoleBindingSubjects"),
                config.flag("unsetOnly"),
                items,
            ),
            "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
                transform::affix(config.text("prefix"), true, &fields, items)?;
                transform::affix(config.text("suffix"), false, &fields, items)
            }
            "LabelTransformer" => transform::marks(config.map("labels"), &fields, items),
            "AnnotationsTransformer" => transform::marks(config.map("annotations"), &fields, items),
            "ReplicaCountTransformer" => transform::replicas(config.at("replica"), &fields, items),
            "ImageTagTransformer" => transform::images(config.at("imageTag"), &fields, items),
            "PatchTransformer" => patches::Patch::read(dir, config)
                .map_err(|why| Self::fails(&self.id, &why.to_string()))?
                .apply(items),
            "PatchJson6902Transformer" => {
                let mut args = config.clone();
                args["patch"] = json!(config.text("jsonOp"));
                patches::json(dir, &[args], items)
            }
            "PatchStrategicMergeTransformer" => {
                let mut texts = config.list("paths").to_vec();
                texts.extend(config.some("patches").cloned());
                patches::strategic(dir, &texts, items)
            }
            "ReplacementTransformer" => replace::run(dir, config.list("replacements"), items),
            other => bail!("plugin {other} does not transform"),
        }
    }
}

/// What Go's reader of YAML says before its words for JSON.
pub const DECODING: &str = "error unmarshaling JSON: while decoding JSON";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        for (file, want) in [
            (
                json!({"kind": "LabelTransformer", "labels": ["a"]}),
                "plugin LabelTransformer.builtin.[noGrp]/t.ns fails configuration: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field .labels of type map[string]string",
            ),
            (
                json!({"kind": "PrefixTransformer", "prefix": "a", "fieldspecs": []}),
                "plugin PrefixTransformer.builtin.[noGrp]/t.ns fails configuration: fieldSpecs is not expected to be nil",
            ),
            (
                json!({"kind": "NoSuch"}),
                "unable to load builtin NoSuch.builtin.[noGrp]",
            ),
        ] {
            let mut file = file;
            file["apiVersion"] = json!("builtin");
            file["metadata"] = json!({"name": "t", "namespace": "ns"});
            let why = Plugin::read(&file).err().unwrap();
            assert_eq!(why.to_string(), want);
        }
    }
}
