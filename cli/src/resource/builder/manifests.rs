//! Objects that files hold, each put where the command line and its own words say.
//! Invariant: an object without a kind, or of another namespace than the command line names, is an error.

use serde_json::json;
use skiff_api::machinery::selector::Selector;

use super::{Builder, Found};
use crate::discovery::Resource;
use crate::error::{Error, Result, message, quote};
use crate::resource::Info;
use crate::resource::files::{self, Validation};
use crate::typed::Read;

impl Builder {
    pub(super) async fn by_files(&self, args: &[String], combined: bool) -> Result<Found> {
        if combined {
            return Err(Error::msg(
                "resource/name arguments cannot be provided when a path is specified",
            ));
        }
        if !args.is_empty() {
            return Err(Error::msg(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            ));
        }
        let manifests = if self.kustomize.is_empty() {
            files::read_all(&self.filenames, self.recursive).await?
        } else {
            crate::kustomize::manifests(&self.kustomize).unwrap_or_else(|e| vec![Err(e)])
        };
        self.of_manifests(manifests).await
    }

    /// Finds the objects of a text.
    ///
    /// # Errors
    /// None by itself: failures on single objects are in `Found`.
    pub async fn of_text(&self, source: &str, text: &str) -> Result<Found> {
        self.of_manifests(files::documents(source, text)).await
    }

    async fn of_manifests(&self, manifests: Vec<Result<files::Manifest>>) -> Result<Found> {
        let wanted = self
            .selector
            .as_deref()
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|text| {
                text.parse::<Selector>().map_err(|e| {
                    Error::msg(format!(
                        "the provided selector {} is not valid: {e}",
                        quote(text)
                    ))
                })
            });
        let wanted = wanted.transpose()?;
        let mut sources: Vec<&str> = manifests
            .iter()
            .flatten()
            .map(|m| m.source.as_str())
            .collect();
        sources.dedup();
        let mut found = Found {
            single: manifests.len() == 1,
            one_file: Some(sources.len() <= 1),
            by_name: true,
            ..Found::default()
        };
        for manifest in manifests {
            if let Err(e) = self
                .one_manifest(manifest, wanted.as_ref(), &mut found)
                .await
            {
                found.errors.push(e);
                if !self.continue_on_error {
                    break;
                }
            }
        }
        found.single &= found.infos.len() == 1;
        Ok(found)
    }

    async fn one_manifest(
        &self,
        manifest: Result<files::Manifest>,
        selector: Option<&Selector>,
        found: &mut Found,
    ) -> Result<()> {
        let manifest = manifest?;
        if self.validation != Validation::Ignore {
            files::validate(&manifest)?;
        }
        files::decodes(&manifest)?;
        let parts = if self.flatten {
            files::flatten(manifest)
        } else {
            vec![manifest]
        };
        for part in parts {
            let mut info = self.placed(part).await?;
            let fits = |info: &Info| {
                selector
                    .is_none_or(|wanted| wanted.matches(info.object.at("metadata").at("labels")))
            };
            if self.labels_of_files && !fits(&info) {
                continue;
            }
            if self.latest && info.resource.namespaced && info.namespace.is_empty() {
                found.errors.push(unplaced(&info));
                continue;
            }
            if self.latest {
                info.object = match self.get(&info.resource, &info.namespace, &info.name).await {
                    Ok(o) => o,
                    Err(e) => {
                        found.errors.push(e);
                        continue;
                    }
                };
            }
            // What the server has of it counts where that is asked for.
            if self.labels_of_files || fits(&info) {
                found.infos.push(info);
            }
        }
        Ok(())
    }

    /// That nobody told of an object's kind: whoever validates asks for the schema first.
    fn unrecognized(&self, source: &str, why: &Error) -> Error {
        let source = quote(source);
        if self.validation == Validation::Ignore {
            return message!("unable to recognize {source}: {why}");
        }
        let why = why.to_string().replacen("/api?", "/openapi/v2?", 1);
        message!(
            "error validating {source}: error validating data: failed to download openapi: {why}; if you choose to ignore these errors, turn validation off with --validate=false"
        )
    }

    /// Finds the resource of a manifest's object, and puts it into its namespace.
    async fn placed(&self, m: files::Manifest) -> Result<Info> {
        let text = |f: &str| m.object[f].as_str().unwrap_or("").to_string();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        for (field, value) in [("Kind", &kind), ("apiVersion", &api_version)] {
            if value.is_empty() {
                return Err(Error::msg(format!(
                    "unable to decode {}: Object '{field}' is missing in '{}'",
                    quote(&m.source),
                    crate::print::json::compact(&m.object)
                )));
            }
        }
        let meta = |f: &str| m.object.at("metadata").text(f).to_string();
        let (name, mut namespace) = (meta("name"), meta("namespace"));
        let resource = if self.local {
            local_resource(&api_version, &kind)
        } else {
            // Whoever validates has asked for the schema before, and failed there.
            let asks = usize::from(self.validation == Validation::Ignore);
            let discovery = self.ctx.discovery()?;
            discovery.of_object(&api_version, &kind, asks).await.map_err(|e| match e {
                Error::Message(why) => Error::msg(format!(
                    "resource mapping not found for name: {} namespace: {} from {}: {why}\nensure CRDs are installed first",
                    quote(&name),
                    quote(&namespace),
                    quote(&m.source)
                )),
                other => self.unrecognized(&m.source, &other),
            })?
        };
        let mut object = m.object;
        if resource.namespaced {
            if namespace.is_empty()
                && self.default_namespace
                && (!self.local || self.require_namespace)
                && !(self.latest && self.all_namespaces)
            {
                namespace = if self.namespace.is_empty() {
                    self.ctx.namespace()?.0
                } else {
                    self.namespace.clone()
                };
                if !self.local {
                    object["metadata"]["namespace"] = json!(namespace);
                }
            } else if self.require_namespace
                && !namespace.is_empty()
                && namespace != self.namespace
                && !self.namespace.is_empty()
            {
                return Err(other_namespace(&namespace, &self.namespace));
            }
        } else {
            namespace = String::new();
        }
        Ok(Info {
            resource,
            namespace,
            name,
            object,
            source: m.source,
            lines: m.lines,
        })
    }
}

/// The error for an object of which nobody says where it is.
fn unplaced(info: &Info) -> Error {
    let Resource {
        group,
        version,
        plural,
        ..
    } = &info.resource;
    message!(
        "no namespace set on resource {group}/{version}, Resource={plural} {}",
        quote(&info.name)
    )
}

/// The error for an object that says that it belongs into another namespace.
pub fn other_namespace(of_object: &str, wanted: &str) -> Error {
    Error::msg(format!(
        "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={of_object}' to perform this operation.",
        quote(of_object),
        quote(wanted)
    ))
}

/// What is known of a kind without asking anyone.
fn local_resource(api_version: &str, kind: &str) -> Resource {
    let (group, version) = crate::discovery::split_api_version(api_version);
    let lower = kind.to_lowercase();
    let plural = if lower.ends_with('s') || lower.ends_with('x') {
        format!("{lower}es")
    } else if let Some(stem) = lower
        .strip_suffix('y')
        .filter(|s| !s.ends_with(['a', 'e', 'o']))
    {
        format!("{stem}ies")
    } else {
        format!("{lower}s")
    };
    Resource {
        group: group.into(),
        version: version.into(),
        plural,
        singular: lower,
        kind: kind.into(),
        namespaced: true,
        ..Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_that_nobody_is_asked_for() {
        assert_eq!(
            local_resource("networking.k8s.io/v1", "NetworkPolicy").plural,
            "networkpolicies"
        );
    }
}
