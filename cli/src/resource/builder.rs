//! Finds the objects that a command line names: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, selectors, files.
//! Invariant: every word is either found or the error says why; with several, what was found is kept beside the errors.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/builder.go`.

use super::files::{self, Validation};
use super::{Info, is_list};
use crate::client::{Call, JSON, query};
use crate::context::Ctx;
use crate::discovery::Resource;
use crate::error::{Error, Result, quote};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::selector::Selector;
use std::rc::Rc;

/// What is said where objects are named and no server is to be asked.
pub const LOCAL: &str = "error: you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'";

/// What to look for. Made from a command line, then `find` is called.
pub struct Builder {
    ctx: Ctx,
    pub namespace: String,
    /// The command line named the namespace: objects of other namespaces are refused.
    pub require_namespace: bool,
    /// Objects of files that name no namespace belong into this one.
    pub default_namespace: bool,
    pub all_namespaces: bool,
    pub filenames: Vec<String>,
    pub recursive: bool,
    pub kustomize: String,
    pub selector: Option<String>,
    pub field_selector: Option<String>,
    /// `--all`: everything of the types named.
    pub all: bool,
    pub args: Vec<String>,
    /// A type without names means all of its objects.
    pub allow_empty_selector: bool,
    /// How many objects to ask for at a time; 0 for all.
    pub chunk: i64,
    pub subresource: String,
    pub accept: &'static str,
    /// More of the query of each read.
    pub parameters: Vec<(&'static str, String)>,
    /// Read from the server what files name.
    pub latest: bool,
    /// Take lists apart.
    pub flatten: bool,
    /// Go on after an error.
    pub continue_on_error: bool,
    pub single_type: bool,
    /// Only files, and no server.
    pub local: bool,
    pub validation: Validation,
    /// Of tables, keep only what is printed; nothing keeps them whole.
    pub rows: Option<super::rows::Keep>,
    /// Read the objects that are named; without, only their names are known.
    pub require_object: bool,
}

/// What was found, and what went wrong.
#[derive(Default)]
pub struct Found {
    pub infos: Vec<Info>,
    pub errors: Vec<Error>,
    /// One object was named, not a set of them.
    pub single: bool,
    /// The objects were named one by one, not selected.
    pub by_name: bool,
}

impl Found {
    /// The objects, if nothing went wrong.
    ///
    /// # Errors
    /// Everything that did.
    pub fn all(self) -> Result<Vec<Info>> {
        Error::collect(self.errors)?;
        Ok(self.infos)
    }

    /// The same, with what went wrong told as a list even where it is one thing.
    pub fn listed(mut self) -> Found {
        if self.errors.len() == 1 && matches!(self.errors[0], Error::Message(_)) {
            self.errors = self.errors.into_iter().map(Error::listed).collect();
        }
        self
    }

    /// What went wrong as one error, for verbs that go on with the rest and tell the failures of both together.
    pub fn failure(&mut self) -> Vec<Error> {
        match std::mem::take(&mut self.errors) {
            several if several.len() > 1 => vec![Error::Many(several)],
            one_or_none => one_or_none,
        }
    }
}

impl Builder {
    /// For the verb's flags: those of files and selectors that it declares are read.
    ///
    /// # Errors
    /// A kubeconfig that cannot be read.
    pub fn new(ctx: &Ctx) -> Result<Builder> {
        let (namespace, require_namespace) = ctx.namespace()?;
        let f = ctx.shared();
        let text = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        let all_namespaces = f.all_namespaces.all_namespaces;
        Ok(Builder {
            ctx: ctx.clone(),
            namespace: if all_namespaces {
                String::new()
            } else {
                namespace
            },
            require_namespace,
            default_namespace: true,
            all_namespaces,
            filenames: ctx.filenames(),
            recursive: ctx.recursive(),
            kustomize: f.files.kustomize.clone(),
            selector: text(ctx.selector()),
            field_selector: text(ctx.field_selector()),
            all: ctx.all(),
            args: ctx.args().to_vec(),
            allow_empty_selector: false,
            chunk: f.chunks.chunk_size,
            subresource: String::new(),
            accept: JSON,
            parameters: vec![],
            latest: false,
            flatten: true,
            continue_on_error: true,
            single_type: false,
            local: f.local.local,
            validation: Validation::Ignore,
            rows: None,
            require_object: true,
        })
    }

    pub fn args(mut self, args: &[String]) -> Self {
        self.args = args.to_vec();
        self
    }

    /// Whether files were named.
    pub fn has_files(&self) -> bool {
        !self.filenames.is_empty() || !self.kustomize.is_empty()
    }

    /// Finds everything.
    ///
    /// # Errors
    /// A command line that does not hold together; failures on single objects are in `Found`.
    pub async fn find(&self) -> Result<Found> {
        if !self.kustomize.is_empty() && !self.filenames.is_empty() {
            return Err(Error::msg("only one of -f or -k can be specified"));
        }
        if !self.kustomize.is_empty() && self.recursive {
            return Err(Error::msg("the -k flag can't be used with -f or -R"));
        }
        if self.all && (self.selector.is_some() || self.field_selector.is_some()) {
            return Err(Error::msg(
                "setting 'all' parameter but found a non empty selector. ",
            ));
        }
        if self.kustomize.is_empty() {
            files::check_names(&self.filenames)?;
        }
        let args = normalize(&self.args);
        let combined = self.combined(&args)?;
        if self.has_files() {
            return self.by_files(&args, combined).await;
        }
        if self.local {
            return Err(Error::msg(LOCAL));
        }
        let selecting = self.selector.is_some()
            || self.field_selector.is_some()
            || self.all
            || (self.allow_empty_selector && args.len() == 1 && !combined);
        if selecting {
            return self.by_selector(&args, combined).await;
        }
        if combined {
            return self.by_tuples(&args).await;
        }
        match args.as_slice() {
            [] => Err(Error::msg(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
            )),
            [types] => {
                for word in types.split(',') {
                    self.resource(word).await?;
                }
                Err(Error::msg(
                    "resource(s) were provided, but no name was specified",
                ))
            }
            [word, names @ ..] => self.by_names(word, names).await,
        }
    }

    fn combined(&self, args: &[String]) -> Result<bool> {
        let slashes = args.iter().filter(|a| a.contains('/')).count();
        if slashes == 0 {
            return Ok(false);
        }
        if slashes != args.len() {
            let p = self.ctx.program();
            return Err(Error::msg(format!(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. '{p} get resource/<resource_name>' instead of '{p} get resource resource/<resource_name>'"
            )));
        }
        for a in args {
            let parts: Vec<&str> = a.split('/').collect();
            if parts.len() != 2 {
                return Err(Error::msg(
                    "arguments in resource/name form may not have more than one slash",
                ));
            }
            if parts[0].is_empty() || parts[1].is_empty() || parts[0].contains(',') {
                return Err(Error::msg(
                    "arguments in resource/name form must have a single resource and name",
                ));
            }
        }
        Ok(true)
    }

    /// The resource that a word means.
    async fn resource(&self, word: &str) -> Result<Resource> {
        self.ctx
            .discovery()?
            .lookup(word)
            .await
            .map_err(Error::of_type)
    }

    /// The resources of comma-separated words; categories stand for theirs.
    async fn types(&self, words: &str) -> Result<Vec<Resource>> {
        let discovery = self.ctx.discovery()?;
        let mut out: Vec<Resource> = Vec::new();
        for word in words.split(',') {
            let served = discovery.served().await?;
            let category = served.category(word);
            let found = if category.is_empty() {
                vec![self.resource(word).await?]
            } else {
                category.into_iter().cloned().collect()
            };
            for r in found {
                if !out.contains(&r) {
                    out.push(r);
                }
            }
        }
        if self.single_type && out.len() > 1 {
            return Err(Error::msg("you may only specify a single resource type"));
        }
        Ok(out)
    }

    async fn by_selector(&self, args: &[String], combined: bool) -> Result<Found> {
        if combined {
            return Err(Error::msg(
                "selectors and the all flag cannot be used when passing resource/name arguments",
            ));
        }
        let types = match args {
            [] => {
                return Err(Error::msg(
                    "at least one resource must be specified to use a selector",
                ));
            }
            [types] => types,
            _ => {
                return Err(Error::msg(
                    "name cannot be provided when a selector is specified",
                ));
            }
        };
        if !self.subresource.is_empty() {
            return Err(Error::msg(
                "subresource cannot be used when bulk resources are specified",
            ));
        }
        let mut found = Found::default();
        for resource in self.types(types).await? {
            if let Err(e) = self.list(&resource, &mut found).await {
                found.errors.push(e);
                if !self.continue_on_error {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Reads a collection, piece by piece.
    async fn list(&self, resource: &Resource, found: &mut Found) -> Result<()> {
        let client = self.ctx.client()?;
        let namespace = if resource.namespaced {
            self.namespace.clone()
        } else {
            String::new()
        };
        let path = resource.collection(Some(&namespace));
        let mut next = String::new();
        loop {
            let chunk = self.chunk.to_string();
            let mut pairs: Vec<(&str, &str)> = Vec::new();
            if !next.is_empty() {
                pairs.push(("continue", &next));
            }
            if let Some(s) = &self.field_selector {
                pairs.push(("fieldSelector", s));
            }
            if let Some(s) = &self.selector {
                pairs.push(("labelSelector", s));
            }
            if self.chunk > 0 {
                pairs.push(("limit", &chunk));
            }
            pairs.extend(self.parameters.iter().map(|(k, v)| (*k, v.as_str())));
            let call = Call::get(format!("{path}{}", query(&pairs))).accept(self.accept);
            let answer = match self.rows {
                None => client.json(&call).await,
                Some(keep) => {
                    client
                        .decoded(&call, |bytes| super::rows::read(bytes, keep))
                        .await
                }
            };
            let list = answer.map_err(|e| self.list_error(e, resource))?;
            next = list.at("metadata").text("continue").to_string();
            found
                .infos
                .extend(self.take_apart(resource, &namespace, list));
            if next.is_empty() {
                return Ok(());
            }
        }
    }

    fn take_apart(&self, resource: &Resource, namespace: &str, mut list: Value) -> Vec<Info> {
        let info = |object: Value| {
            let text = |f: &str| object.at("metadata").text(f).to_string();
            Info {
                resource: resource.clone(),
                namespace: text("namespace"),
                name: text("name"),
                object,
                source: String::new(),
                lines: Rc::default(),
            }
        };
        if !self.flatten || !is_list(&list) {
            return vec![Info {
                namespace: namespace.to_string(),
                ..info(list)
            }];
        }
        let (api_version, kind) = (
            list.at("apiVersion").clone(),
            list.text("kind").trim_end_matches("List").to_string(),
        );
        let Value::Array(items) = list["items"].take() else {
            return vec![];
        };
        items
            .into_iter()
            .map(|mut item| {
                if let Some(m) = item.as_object_mut() {
                    m.entry("apiVersion").or_insert_with(|| api_version.clone());
                    m.entry("kind").or_insert_with(|| json!(kind));
                }
                info(item)
            })
            .collect()
    }

    fn list_error(&self, error: Error, resource: &Resource) -> Error {
        let Error::Status(mut s) = error else {
            return error;
        };
        if !matches!(s.text_ptr("reason"), Some("BadRequest" | "NotFound")) {
            return Error::Status(s);
        }
        let message = crate::error::status_message(&s);
        let (label, field) = (
            self.selector.as_deref().unwrap_or(""),
            self.field_selector.as_deref().unwrap_or(""),
        );
        s["message"] = json!(if label.is_empty() && field.is_empty() {
            format!("Unable to list {}: {message}", quote(&resource.long_name()))
        } else {
            format!(
                "Unable to find {} that match label selector {}, field selector {}: {message}",
                quote(&resource.long_name()),
                quote(label),
                quote(field)
            )
        });
        Error::Status(s)
    }

    async fn by_tuples(&self, args: &[String]) -> Result<Found> {
        let mut wanted = Vec::new();
        for a in args {
            let (word, name) = a.split_once('/').unwrap_or((a, ""));
            wanted.push((self.resource(word).await?, name.to_string()));
        }
        self.read(wanted).await
    }

    async fn by_names(&self, types: &str, names: &[String]) -> Result<Found> {
        let resources = self.types(types).await?;
        let [resource] = resources.as_slice() else {
            return Err(Error::msg("you must specify only one resource"));
        };
        self.read(
            names
                .iter()
                .map(|n| (resource.clone(), n.clone()))
                .collect(),
        )
        .await
    }

    async fn read(&self, wanted: Vec<(Resource, String)>) -> Result<Found> {
        let mut found = Found {
            single: wanted.len() == 1,
            by_name: true,
            ..Found::default()
        };
        for (resource, name) in wanted {
            if resource.namespaced && self.namespace.is_empty() {
                let why = if self.all_namespaces {
                    "a resource cannot be retrieved by name across all namespaces"
                } else {
                    "namespace may not be empty when retrieving a resource by name"
                };
                return Err(Error::msg(why));
            }
            let namespace = if resource.namespaced {
                self.namespace.clone()
            } else {
                String::new()
            };
            let read = if self.require_object {
                self.get(&resource, &namespace, &name).await
            } else {
                Ok(Value::Null)
            };
            match read {
                Ok(object) => found.infos.push(Info {
                    resource,
                    namespace,
                    name,
                    object,
                    source: String::new(),
                    lines: Rc::default(),
                }),
                Err(e) => {
                    found.errors.push(e);
                    if !self.continue_on_error {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value> {
        let mut path = resource.object(namespace, name);
        if !self.subresource.is_empty() {
            path = format!("{path}/{}", self.subresource);
        }
        let pairs: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|(k, v)| (*k, v.as_str()))
            .collect();
        self.ctx
            .client()?
            .json(&Call::get(format!("{path}{}", query(&pairs))).accept(self.accept))
            .await
    }

    async fn by_files(&self, args: &[String], combined: bool) -> Result<Found> {
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
        let mut found = Found {
            single: manifests.len() == 1,
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
            if selector
                .is_some_and(|wanted| !wanted.matches(info.object.at("metadata").at("labels")))
            {
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
            found.infos.push(info);
        }
        Ok(())
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
            self.ctx.discovery()?.of_kind(&api_version, &kind).await.map_err(|e| match e {
                Error::Message(why) => Error::msg(format!(
                    "resource mapping not found for name: {} namespace: {} from {}: {why}\nensure CRDs are installed first",
                    quote(&name),
                    quote(&namespace),
                    quote(&m.source)
                )),
                other => other,
            })?
        };
        let mut object = m.object;
        if resource.namespaced {
            if namespace.is_empty()
                && self.default_namespace
                && (!self.local || self.require_namespace)
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

/// `a,b x` means `a/x b/x`.
fn normalize(args: &[String]) -> Vec<String> {
    if let [types, names @ ..] = args
        && !names.is_empty()
        && types.contains(',')
    {
        return types
            .split(',')
            .flat_map(|t| names.iter().map(move |n| format!("{t}/{n}")))
            .collect();
    }
    args.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_types_with_names() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(normalize(&words("a,b x y")), words("a/x a/y b/x b/y"));
        assert_eq!(normalize(&words("a,b")), words("a,b"));
        assert_eq!(
            local_resource("networking.k8s.io/v1", "NetworkPolicy").plural,
            "networkpolicies"
        );
    }
}
