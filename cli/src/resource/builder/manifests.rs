//! Objects that files hold, each put where the command line and its own words say.
//! Invariant: an object without a kind, or of another namespace than the command line names, is an error.

use serde_json::{Value, json};
use skiff_api::machinery::aggregate::aggregate;
use skiff_api::machinery::selector::Selector;

use super::{Builder, Found};
use crate::client::Call;
use crate::discovery::Resource;
use crate::error::{Error, Result, message, quote};
use crate::resource::files::{self, Validation};
use crate::resource::{Info, is_list, judged};
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
            vec![crate::kustomize::manifests(&self.kustomize).unwrap_or_else(|e| vec![Err(e)])]
        };
        self.of_manifests(manifests).await
    }

    /// Finds the objects of a text.
    ///
    /// # Errors
    /// None by itself: failures on single objects are in `Found`.
    pub async fn of_text(&self, source: &str, text: &str) -> Result<Found> {
        self.of_manifests(vec![files::documents(source, text)])
            .await
    }

    /// Finds the objects of files, each with its documents.
    async fn of_manifests(&self, files: Vec<Vec<Result<files::Manifest>>>) -> Result<Found> {
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
        let read = |file: &&Vec<Result<files::Manifest>>| file.iter().any(Result::is_ok);
        let mut found = Found {
            single: files.iter().map(Vec::len).sum::<usize>() == 1,
            one_file: Some(files.iter().filter(read).count() <= 1),
            by_name: true,
            by_sources: true,
            ..Found::default()
        };
        let mut openapi = None;
        'files: for file in files {
            for manifest in self.checked(file, &mut openapi).await {
                match manifest {
                    Ok(manifest) => {
                        self.one_manifest(manifest, wanted.as_ref(), &mut found)
                            .await
                    }
                    Err(why) => found.fail(why),
                }
                if !self.continue_on_error && !found.errors.is_empty() {
                    break 'files;
                }
            }
        }
        found.single &= found.infos.len() == 1;
        Ok(found)
    }

    /// The documents of a file up to the first that is not valid.
    async fn checked(
        &self,
        file: Vec<Result<files::Manifest>>,
        openapi: &mut Option<Value>,
    ) -> Vec<Result<files::Manifest>> {
        let mut out = Vec::new();
        for manifest in file {
            let manifest = match manifest {
                Ok(manifest) if self.validation != Validation::Ignore => {
                    let valid = self.validate(&manifest, openapi).await;
                    valid.map(|()| manifest)
                }
                other => other,
            };
            let wrong = manifest.is_err();
            out.push(manifest);
            if wrong {
                break;
            }
        }
        out
    }

    /// That a document is valid, as far as its server does not tell when the object is sent there.
    async fn validate(
        &self,
        manifest: &files::Manifest,
        openapi: &mut Option<Value>,
    ) -> Result<()> {
        files::validate(manifest)?;
        if self.local || self.is_checked_by_server(&manifest.object).await? {
            return Ok(());
        }
        if self.validation == Validation::Warn {
            let text = "cannot perform warn validation if server-side field validation is unsupported, skipping validation";
            crate::client::klog('W', "schema.go:145", text);
            return Ok(());
        }
        let source = &manifest.source;
        let document = match openapi {
            Some(document) => document,
            None => {
                let client = self.ctx.client()?;
                let path = format!("/openapi/v2?timeout={}", client.patience());
                let document = client.json(&Call::get(path)).await.map_err(|why| {
                    files::invalid(source, format!("failed to download openapi: {why}"))
                })?;
                openapi.insert(document)
            }
        };
        let faults = aggregate(judged::faults(document, &manifest.object));
        faults.map_or(Ok(()), |what| Err(files::invalid(source, what)))
    }

    /// Whether the server looks at the fields of such an object. A list is sent to none, and kinds that cannot be patched are taken for ones that are not looked
    /// at.
    async fn is_checked_by_server(&self, object: &Value) -> Result<bool> {
        if judged::is_plain_list(object) {
            return Ok(false);
        }
        let (version, kind) = (object.text("apiVersion"), object.text("kind"));
        match self.ctx.discovery()?.of_object(version, kind, 0).await {
            Ok(resource) => Ok(resource.can("patch")),
            Err(Error::Message(_)) => Ok(false),
            // told where the object is given its place
            Err(_) => Ok(true),
        }
    }

    async fn one_manifest(
        &self,
        manifest: files::Manifest,
        selector: Option<&Selector>,
        found: &mut Found,
    ) {
        if let Err(why) = files::decodes(&manifest) {
            return found.fail(why);
        }
        let is_list = self.flatten && is_list(&manifest.object);
        let parts = match self.flatten {
            true => files::flatten(manifest),
            false => vec![manifest],
        };
        let mut wrong = Vec::new();
        for part in parts {
            match self.one_part(part, is_list, selector).await {
                Ok(info) => found.infos.extend(info),
                Err(why) => wrong.push(why),
            }
        }
        // What is wrong with a list's items is told as one, and as a list even where it is one.
        match is_list {
            true if wrong.is_empty() => {}
            true => found.fail(Error::Many(vec![Error::Many(wrong)])),
            false => wrong.into_iter().for_each(|why| found.fail(why)),
        }
    }

    /// The object where it belongs, as the server has it where that is asked for; nothing if its labels do not fit.
    async fn one_part(
        &self,
        part: files::Manifest,
        of_list: bool,
        selector: Option<&Selector>,
    ) -> Result<Option<Info>> {
        if self.latest && is_list(&part.object) {
            return Err(Error::msg(
                "watch is only supported on individual resources and resource collections, but a list of resources is found",
            ));
        }
        let mut info = self.placed(part, of_list).await?;
        let fits = |info: &Info| {
            selector.is_none_or(|wanted| wanted.matches(info.object.at("metadata").at("labels")))
        };
        if self.labels_of_files && !fits(&info) {
            return Ok(None);
        }
        if self.latest && info.resource.namespaced && info.namespace.is_empty() {
            return Err(unplaced(&info));
        }
        if self.latest {
            info.object = self
                .get(&info.resource, &info.namespace, &info.name)
                .await?;
        }
        // What the server has of it counts where that is asked for.
        Ok((self.labels_of_files || fits(&info)).then_some(info))
    }

    /// That nobody told of an object's kind: whoever validates asks for the schema first.
    fn unrecognized(&self, source: &str, why: &Error) -> Error {
        if self.validation == Validation::Ignore {
            return message!("unable to recognize {}: {why}", quote(source));
        }
        let why = why.to_string().replacen("/api?", "/openapi/v2?", 1);
        files::invalid(source, format!("failed to download openapi: {why}"))
    }

    /// Finds the resource of a manifest's object, and puts it into its namespace.
    async fn placed(&self, m: files::Manifest, of_list: bool) -> Result<Info> {
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
        self.typed_kind(&api_version, &kind)
            .map_err(|why| message!("unable to decode {}: {why}", quote(&m.source)))?;
        let meta = |f: &str| m.object.at("metadata").text(f).to_string();
        let (name, mut namespace) = (meta("name"), meta("namespace"));
        let resource = if self.local {
            local_resource(&api_version, &kind)
        } else {
            // Whoever validates has asked for the schema before, and failed there.
            let asks = usize::from(self.validation == Validation::Ignore);
            let discovery = self.ctx.discovery()?;
            discovery.of_object(&api_version, &kind, asks).await.map_err(|e| match e {
                Error::Message(why) if of_list => message!("unable to recognize {why}"),
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
