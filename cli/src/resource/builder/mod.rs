//! Finds the objects that a command line names: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, selectors, files.
//! Invariant: every word is either found or the error says why; with several, what was found is kept beside the errors.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/builder.go`.

mod manifests;
mod server;

use super::files::{self, Validation};
use super::{Failures, Info};
use crate::client::JSON;
use crate::context::Ctx;
use crate::discovery::Resource;
use crate::error::{Error, Result};
pub use manifests::other_namespace;

/// What is said where objects are named and no server is to be asked.
pub const LOCAL: &str = "error: you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'";

/// What is said where nothing is named.
pub const NOTHING_NAMED: &str = "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'";

/// What is said of several types where there may be but one.
const ONE_TYPE: &str = "you may only specify a single resource type";

pub use crate::typed::KUBECTL;
/// Where that of Go's clients is made.
pub const CLIENT_GO: &str = "k8s.io/client-go/kubernetes/scheme/register.go:82";

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
    /// Files are chosen by the labels that they have, not by those that the server has of their objects.
    pub labels_of_files: bool,
    /// The type is no word of the user's: no category is called so.
    pub fixed_type: bool,
    /// Only files, and no server.
    pub local: bool,
    pub validation: Validation,
    /// Of tables, keep only what is printed; nothing keeps them whole.
    pub rows: Option<super::rows::RowParts>,
    /// Only kinds that this scheme of Go's clients has types of.
    pub typed: Option<&'static str>,
    /// Read the objects that are named; without, only their names are known.
    pub require_object: bool,
}

/// What was found, and what went wrong.
#[derive(Default)]
pub struct Found {
    pub infos: Vec<Info>,
    pub errors: Vec<Error>,
    /// How many objects had been found before each of the errors.
    places: Vec<usize>,
    /// Files or selectors were asked for: what failed there is told after what fails with the objects.
    by_sources: bool,
    /// One object was named, not a set of them.
    pub single: bool,
    /// Of files: there is but one, whatever it holds.
    pub one_file: Option<bool>,
    /// The objects were named one by one, not selected.
    pub by_name: bool,
}

impl Found {
    /// Whether no more than one thing was asked for.
    pub fn is_one(&self) -> bool {
        self.one_file.unwrap_or(self.single)
    }

    /// The objects, if nothing went wrong.
    ///
    /// # Errors
    /// Everything that did.
    pub fn all(self) -> Result<Vec<Info>> {
        Error::collect(self.errors)?;
        Ok(self.infos)
    }

    /// The same, with what went wrong told as a list even where it is one thing; not where one object was named.
    pub fn listed(mut self) -> Found {
        if (!self.single || self.by_sources)
            && self.errors.len() == 1
            && matches!(self.errors[0], Error::Message(_))
        {
            self.errors = self.errors.into_iter().map(Error::listed).collect();
        }
        self
    }

    /// Something went wrong here.
    fn fail(&mut self, error: Error) {
        self.errors.push(error);
        self.places.push(self.infos.len());
    }

    /// What went wrong, for verbs that go on with what was found and tell the failures of both together.
    pub fn failures(&mut self) -> Failures {
        let places = std::mem::take(&mut self.places).into_iter();
        let errors = std::mem::take(&mut self.errors);
        Failures::new(places.zip(errors).collect(), self.by_sources)
    }

    /// Leaves out the errors that say that an object is not there.
    pub fn ignore_absent(&mut self) {
        let errors = std::mem::take(&mut self.errors);
        self.errors = errors
            .into_iter()
            .filter_map(Error::unless_absent)
            .collect();
    }

    /// What went wrong as one error, for verbs that need all objects before they begin.
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
        let text = |text: &str| Some(text.trim().to_string()).filter(|text| !text.is_empty());
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
            fixed_type: false,
            labels_of_files: false,
            local: f.local.local,
            validation: Validation::Ignore,
            rows: None,
            typed: None,
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
            [] => Err(Error::msg(NOTHING_NAMED)),
            [types] => {
                self.types(types).await?;
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
            .mapping(word)
            .await
            .map_err(Error::of_type)
    }

    /// The resources of comma-separated words; categories stand for theirs.
    async fn types(&self, words: &str) -> Result<Vec<Resource>> {
        let discovery = self.ctx.discovery()?;
        let mut named: Vec<(&str, Vec<Resource>)> = Vec::new();
        for word in words.split(',') {
            // Where no category can be asked for, asking for the word fails, too.
            let category = match self.fixed_type {
                true => Ok(vec![]),
                false => discovery.category(word).await,
            };
            let category = category.unwrap_or_else(|_| vec![]);
            named.push((word, category));
        }
        let mut out: Vec<Resource> = Vec::new();
        for (word, mut found) in named {
            if found.is_empty() {
                found.push(self.resource(word).await?);
            }
            for r in found {
                if !out.contains(&r) {
                    out.push(r);
                }
            }
        }
        if self.single_type && out.len() > 1 {
            return Err(Error::msg(ONE_TYPE));
        }
        Ok(out)
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
    }
}
