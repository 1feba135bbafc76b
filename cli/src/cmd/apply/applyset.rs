//! `apply --prune --applyset`: a set of objects that its parent keeps the account of. What is a member and no longer in the files is deleted.
//! Invariant: the parent tells of all kinds and namespaces of members before any object is written, and of those that are left only when pruning succeeded.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apply/applyset.go` and `applyset_pruner.go`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Flags, prune};
use crate::client::{Call, query};
use crate::context::{Ctx, DryRun, With};
use crate::discovery::Resource;
use crate::error::{Error, Result, bail, message, quote};
use crate::resource::{Info, Validation, helper};
use crate::typed::{APPLY, Read};

/// The variable that turns sets on.
pub const SWITCH: &str = "KUBECTL_APPLYSET";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const RESOURCES: &str = "applyset.kubernetes.io/contains-group-resources";
const ID: &str = "applyset.kubernetes.io/id";
const PART_OF: &str = "applyset.kubernetes.io/part-of";
const PARENT_TYPE: &str = "applyset.kubernetes.io/is-parent-type";
/// Who keeps the account.
const TOOL: &str = "kubectl";

/// Kinds by their names (`Kind.group`), and namespaces.
#[derive(Default)]
struct Contents {
    kinds: BTreeMap<String, Resource>,
    namespaces: BTreeSet<String>,
}

/// A set: its parent, what it held before, and what it holds now.
pub(super) struct ApplySet {
    parent: Resource,
    name: String,
    namespace: String,
    before: Contents,
    now: Contents,
}

/// `Kind.group`.
fn group_kind(kind: &Resource) -> String {
    match kind.group.as_str() {
        "" => kind.kind.clone(),
        group => format!("{}.{group}", kind.kind),
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(",")
}

/// The list that an annotation holds.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let all = Some(text).filter(|text| !text.is_empty());
    all.into_iter().flat_map(|text| text.split(','))
}

impl ApplySet {
    /// The set that `--applyset` names.
    ///
    /// # Errors
    /// A name that is blank, or a type that is not served.
    pub(super) async fn named(ctx: &Ctx, text: &str) -> Result<ApplySet> {
        let (word, name) = text.split_once('/').unwrap_or(("secrets", text));
        let wrong = |why: String| message!("invalid parent reference {}: {why}", quote(text));
        if name.is_empty() {
            return Err(wrong("name cannot be blank".into()));
        }
        let found = ctx.discovery()?.lookup(word).await;
        let parent = found.map_err(|why| wrong(why.to_string()))?;
        // The namespace in use is none that the user has named.
        let (namespace, named) = ctx.namespace()?;
        let has_namespace = parent.namespaced && named;
        Ok(ApplySet {
            namespace: if has_namespace {
                namespace
            } else {
                String::new()
            },
            parent,
            name: name.into(),
            before: Contents::default(),
            now: Contents::default(),
        })
    }

    fn is_builtin(&self) -> bool {
        let parent = (self.parent.group.as_str(), self.parent.plural.as_str());
        matches!(parent, ("", "secrets" | "configmaps"))
    }

    /// Its parent, as messages name it.
    fn shown(&self) -> String {
        let Resource { plural, group, .. } = &self.parent;
        quote(&format!("{plural}.{group}/{}", self.name))
    }

    /// What the label of its members says.
    fn id(&self) -> String {
        let Resource { kind, group, .. } = &self.parent;
        let text = format!("{}.{}.{kind}.{group}", self.name, self.namespace);
        let hash = Sha256::digest(text.as_bytes());
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        format!("applyset-{encoded}-v1")
    }

    /// Whether there may be such a parent.
    ///
    /// # Errors
    /// A namespace that is missing, a kind that no set may have.
    pub(super) async fn validate(&self, ctx: &Ctx) -> Result<()> {
        let mut wrong: Vec<Error> = Vec::new();
        if self.parent.namespaced && self.namespace.is_empty() {
            wrong.push(Error::msg(
                "namespace is required to use namespace-scoped ApplySet",
            ));
        }
        if !self.is_builtin() {
            let permitted = permitted(ctx).await.unwrap_or_else(|why| {
                let told = "identifying allowed custom resource parent types";
                wrong.push(message!("{told}: {why}"));
                vec![]
            });
            let Resource {
                group,
                version,
                plural,
                ..
            } = &self.parent;
            if !permitted.contains(&format!("{plural}.{group}")) {
                let parent = quote(&format!("{group}/{version}, Resource={plural}"));
                wrong.push(message!(
                    "resource {parent} is not permitted as an ApplySet parent"
                ));
            }
        }
        Error::collect(wrong)
    }

    /// Marks objects as members.
    ///
    /// # Errors
    /// One that says itself of which set it is.
    pub(super) fn label(&self, infos: &mut [Info]) -> Result<()> {
        for info in infos {
            let metadata = &mut info.object["metadata"];
            if metadata.at("labels").get(PART_OF).is_some() {
                bail!(
                    "ApplySet label {} already set in input data",
                    quote(PART_OF)
                );
            }
            if !metadata.at("labels").is_object() {
                metadata["labels"] = json!({});
            }
            metadata["labels"][PART_OF] = json!(self.id());
        }
        Ok(())
    }

    /// Reads what the set held, and has its parent tell of the new members, too.
    ///
    /// # Errors
    /// A parent that is another tool's or none, a write that the server refuses.
    pub(super) async fn begin(
        &mut self,
        ctx: &Ctx,
        infos: &[Info],
        validation: Validation,
    ) -> Result<()> {
        self.fetch(ctx).await?;
        for info in infos {
            let kind = &info.resource;
            let kinds = &mut self.now.kinds;
            kinds.entry(group_kind(kind)).or_insert(kind.clone());
            if kind.namespaced && !info.namespace.is_empty() {
                self.now.namespaces.insert(info.namespace.clone());
            }
        }
        let Contents { kinds, namespaces } = &self.before;
        let kinds: BTreeSet<&String> = kinds.keys().chain(self.now.kinds.keys()).collect();
        let namespaces = namespaces.union(&self.now.namespaces).collect();
        self.update(ctx, validation, kinds, namespaces).await
    }

    async fn fetch(&mut self, ctx: &Ctx) -> Result<()> {
        let found = helper::get(ctx.client()?, &self.parent, &self.namespace, &self.name).await;
        let parent = match found {
            Ok(parent) => parent,
            Err(why) if why.is_not_found() && self.is_builtin() => return Ok(()),
            Err(why) if why.is_not_found() => {
                bail!("custom resource ApplySet parents cannot be created automatically")
            }
            Err(why) => bail!(
                "failed to fetch ApplySet parent object {}: {why}",
                self.shown()
            ),
        };
        let metadata = parent.at("metadata");
        self.check(metadata)?;
        let kinds = kinds_of(ctx, metadata.at("annotations")).await;
        self.before.kinds = kinds
            .map_err(|why| message!("parsing ApplySet annotation on {}: {why}", self.shown()))?;
        let namespaces = split(metadata.at("annotations").text(NAMESPACES));
        self.before.namespaces = namespaces.map(String::from).collect();
        if self.parent.namespaced {
            self.before.namespaces.insert(self.namespace.clone());
        }
        Ok(())
    }

    /// Whether a parent that is there is this set's, and this program's.
    fn check(&self, metadata: &Value) -> Result<()> {
        let parent = self.shown();
        let Some(tooling) = metadata.at("annotations").text_ptr(TOOLING) else {
            bail!(
                "ApplySet parent object {parent} already exists and is missing required annotation {}",
                quote(TOOLING)
            );
        };
        let tool = tooling.rsplit_once('/').map_or(tooling, |(tool, _)| tool);
        if tool != TOOL {
            bail!(
                "ApplySet parent object {parent} already exists and is managed by tooling {} instead of {}",
                quote(tool),
                quote(TOOL)
            );
        }
        match metadata.at("labels").text_ptr(ID) {
            None => bail!(
                "ApplySet parent object {parent} exists and does not have required label {ID}"
            ),
            Some(id) if id != self.id() => bail!(
                "ApplySet parent object {parent} exists and has incorrect value for label {} (got: {id}, want: {})",
                quote(ID),
                self.id()
            ),
            Some(_) => Ok(()),
        }
    }

    /// Has the parent tell of these kinds and namespaces.
    async fn update(
        &self,
        ctx: &Ctx,
        validation: Validation,
        kinds: BTreeSet<&String>,
        mut namespaces: BTreeSet<&String>,
    ) -> Result<()> {
        let dry_run = ctx.dry_run()?;
        if dry_run == DryRun::Client {
            return Ok(());
        }
        namespaces.remove(&self.namespace);
        let version = crate::cmd::version::own();
        let mut metadata = json!({
            "name": self.name,
            "annotations": {
                TOOLING: format!("{TOOL}/{}", version.text("gitVersion")),
                KINDS: joined(kinds.into_iter()),
                NAMESPACES: joined(namespaces.into_iter()),
            },
            "labels": {ID: self.id()},
        });
        if !self.namespace.is_empty() {
            metadata["namespace"] = json!(self.namespace);
        }
        let body = json!({"kind": self.parent.kind, "apiVersion": self.parent.api_version(), "metadata": metadata});
        let info = Info::of(
            self.parent.clone(),
            &self.namespace,
            &self.name,
            Value::Null,
        );
        let manager = format!("{TOOL}-applyset");
        let mut write = helper::Write::by(&manager, dry_run).validation(validation);
        let client = ctx.client()?;
        let mut sent = write.patch_of(client, &info, APPLY, &body).await;
        if let Err(why) = &sent
            && why.is_conflict()
        {
            crate::client::klog(
                'W',
                "applyset.go:447",
                &format!(
                    "WARNING: failed to update ApplySet: {why}\nApplySet field manager {manager} should own these fields. Retrying with conflicts forced."
                ),
            );
            write.force = true;
            sent = write.patch_of(client, &info, APPLY, &body).await;
        }
        sent.map(drop)
            .map_err(|why| message!("failed to update ApplySet: {why}"))
    }

    /// Deletes the members that were not applied, and has the parent tell of those that are left.
    ///
    /// # Errors
    /// What cannot be listed or deleted; the parent then goes on to tell of all.
    pub(super) async fn prune(
        &self,
        ctx: &With<Flags>,
        done: &[Info],
        validation: Validation,
    ) -> Result<()> {
        for info in self.doomed(ctx, done).await? {
            prune::delete(ctx, &info).await.map_err(|why| {
                let kind = group_kind(&info.resource);
                match info.namespace.as_str() {
                    "" => message!("pruning {kind} {}: {why}", info.name),
                    namespace => message!("pruning {kind} {namespace}/{}: {why}", info.name),
                }
            })?;
        }
        let Contents { kinds, namespaces } = &self.now;
        let updated = self.update(
            ctx,
            validation,
            kinds.keys().collect(),
            namespaces.iter().collect(),
        );
        updated
            .await
            .map_err(|why| message!("apply and prune succeeded, but ApplySet update failed: {why}"))
    }

    /// The members that were not applied, wherever the set had some.
    async fn doomed(&self, ctx: &Ctx, done: &[Info]) -> Result<Vec<Info>> {
        let members = query(&[("labelSelector", &format!("{PART_OF}={}", self.id()))]);
        let mut found = Vec::new();
        for kind in self.before.kinds.values() {
            let places: Vec<&str> = match kind.namespaced {
                true => self.before.namespaces.iter().map(String::as_str).collect(),
                false => vec![""],
            };
            if kind.namespaced && places.contains(&"") {
                bail!(
                    "unexpectedly encountered empty namespace during prune of namespace-scoped resource {}",
                    group_kind(kind)
                );
            }
            for namespace in places {
                let path = format!("{}{members}", kind.collection(Some(namespace)));
                let list = ctx.client()?.json(&Call::get(path)).await.map_err(|why| {
                    message!(
                        "listing {}, Kind={} objects for pruning: {why}",
                        if kind.group.is_empty() {
                            format!("/{}", kind.version)
                        } else {
                            kind.api_version()
                        },
                        kind.kind
                    )
                })?;
                let items = list.list("items").iter();
                let infos = items.map(|item| prune::info_of(kind, item));
                found.extend(infos.filter(|info| !done.iter().any(|d| prune::same(d, info))));
            }
        }
        Ok(found)
    }
}

/// The kinds of custom resources that may be parents, as their definitions are named.
async fn permitted(ctx: &Ctx) -> Result<Vec<String>> {
    let path = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions{}",
        query(&[("labelSelector", PARENT_TYPE)])
    );
    let list = ctx.client()?.json(&Call::get(path)).await?;
    let names = list.list("items").iter();
    Ok(names
        .map(|item| item.at("metadata").text("name").to_string())
        .collect())
}

/// The kinds that a parent tells of.
async fn kinds_of(ctx: &Ctx, annotations: &Value) -> Result<BTreeMap<String, Resource>> {
    let discovery = ctx.discovery()?;
    let mut kinds = BTreeMap::new();
    if let Some(text) = annotations.text_ptr(KINDS) {
        for name in split(text) {
            let (kind, group) = name.split_once('.').unwrap_or((name, ""));
            let found = discovery.of_group_kind(group, kind).await.map_err(|why| {
                message!(
                    "could not find mapping for kind in {} annotation: {why}",
                    quote(KINDS)
                )
            })?;
            kinds.insert(name.to_string(), found);
        }
        return Ok(kinds);
    }
    let old = annotations.text(RESOURCES);
    if old.is_empty() {
        bail!(
            "kubectl requires the {} annotation to be set on all ApplySet parent objects",
            quote(KINDS)
        );
    }
    for name in split(old) {
        let found = discovery.lookup(name).await.map_err(|why| {
            message!(
                "invalid group resource in {} annotation: {why}",
                quote(RESOURCES)
            )
        })?;
        kinds.insert(group_kind(&found), found);
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_parent() {
        let set = ApplySet {
            parent: Resource {
                version: "v1".into(),
                plural: "secrets".into(),
                kind: "Secret".into(),
                namespaced: true,
                ..Resource::default()
            },
            name: "my-set".into(),
            namespace: "mynamespace".into(),
            before: Contents::default(),
            now: Contents::default(),
        };
        let hash = Sha256::digest(b"my-set.mynamespace.Secret.");
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        assert_eq!(set.id(), format!("applyset-{hash}-v1"));
        assert_eq!(set.shown(), "\"secrets./my-set\"");
        let mut member = [Info::of(
            Resource::default(),
            "n",
            "a",
            json!({"metadata": {}}),
        )];
        set.label(&mut member).unwrap();
        let label = member[0].object.at("metadata").at("labels").text(PART_OF);
        assert_eq!(label, set.id());
        assert!(set.label(&mut member).is_err());
        assert_eq!(split("").count(), 0);
    }
}
