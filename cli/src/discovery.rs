//! What the server serves: groups, versions, resources, and how words of the user become one of them.
//! Invariant: answers kept on disk are used for six hours and read again as soon as a word matches nothing in them.
//! Behaviour follows `staging/src/k8s.io/client-go/discovery/cached/disk` and `restmapper` (shortcut, category, priority).

use crate::client::{Call, Client};
use crate::error::{Error, Result, quote};
use crate::typed::Read;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// One resource that is served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    /// Its sub-resources' names.
    pub subresources: Vec<String>,
}

impl Resource {
    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
    /// `plural.group`, as error messages name it.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
    /// `kind.group`, as results name it.
    pub fn kind_name(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() {
            kind
        } else {
            format!("{kind}.{}", self.group)
        }
    }
    /// `group/version, Resource=plural`.
    pub fn long_name(&self) -> String {
        format!("{}/{}, Resource={}", self.group, self.version, self.plural)
    }
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
    /// The path of the collection, of all namespaces if none is given.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            "/api".to_string()
        } else {
            format!("/apis/{}", self.group)
        };
        match namespace.filter(|n| self.namespaced && !n.is_empty()) {
            Some(n) => format!(
                "{root}/{}/namespaces/{}/{}",
                self.version,
                crate::client::segment(n),
                self.plural
            ),
            None => format!("{root}/{}/{}", self.version, self.plural),
        }
    }
    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!(
            "{}/{}",
            self.collection(Some(namespace)),
            crate::client::segment(name)
        )
    }
    fn is_called(&self, word: &str) -> bool {
        self.plural == word
            || self.singular == word
            || self.kind.to_lowercase() == word
            || self.short_names.iter().any(|s| s == word)
    }
}

/// All that is served, in the server's order.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The groups with their versions, the preferred one first.
    pub groups: Vec<(String, Vec<String>)>,
    pub resources: Vec<Resource>,
    /// Group versions whose resources could not be read, and why.
    pub failed: Vec<(String, String)>,
}

impl Served {
    fn preferred(&self, group: &str) -> Option<&str> {
        self.groups
            .iter()
            .find(|(g, _)| g == group)?
            .1
            .first()
            .map(String::as_str)
    }

    /// The resource that a word of `group` (any, if none is given) names, in its preferred version.
    fn named(&self, word: &str, group: Option<&str>, version: Option<&str>) -> Option<&Resource> {
        let of_group = |g: &str| self.first_of(word, &|r| r.group == g, version);
        match group {
            None => self.first_of(word, &|_| true, version),
            Some("") => of_group(""),
            // the beginning of a group will do where no group is called so
            Some(g) => {
                of_group(g).or_else(|| self.first_of(word, &|r| r.group.starts_with(g), version))
            }
        }
    }

    fn first_of(
        &self,
        word: &str,
        of_group: &dyn Fn(&Resource) -> bool,
        version: Option<&str>,
    ) -> Option<&Resource> {
        let fits = |r: &&Resource| of_group(r) && version.is_none_or(|v| r.version == v);
        let exact = self
            .resources
            .iter()
            .filter(fits)
            .find(|r| r.plural == word || r.singular == word);
        let first = exact.or_else(|| {
            self.resources
                .iter()
                .filter(fits)
                .find(|r| r.is_called(word))
        })?;
        if version.is_some() {
            return Some(first);
        }
        let preferred = self.preferred(&first.group);
        Some(
            self.resources
                .iter()
                .find(|r| {
                    r.group == first.group
                        && r.plural == first.plural
                        && Some(r.version.as_str()) == preferred
                })
                .unwrap_or(first),
        )
    }

    /// `resource`, `resource.group` or `resource.version.group`.
    pub fn lookup(&self, word: &str) -> Option<&Resource> {
        let word = word.to_lowercase();
        let mut parts = word.splitn(3, '.');
        let (name, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if name.is_empty() {
            return None;
        }
        if let (Some(version), Some(group)) = (second, third)
            && let Some(r) = self.named(name, Some(group), Some(version))
        {
            return Some(r);
        }
        match word.split_once('.') {
            Some((name, group)) => self.named(name, Some(group), None),
            None => self.named(name, None, None),
        }
    }

    /// Other resources that a short name could mean: those behind the one that it does mean.
    pub fn also_called(&self, word: &str) -> Vec<String> {
        let word = word.to_lowercase();
        let is_name = |r: &Resource| r.plural == word || r.singular == word;
        if self.resources.iter().any(is_name) {
            return Vec::new();
        }
        let mut called: Vec<String> = Vec::new();
        for r in &self.resources {
            let name = r.group_resource();
            if r.short_names.contains(&word) && !called.contains(&name) {
                called.push(name);
            }
        }
        called.split_off(called.len().min(1))
    }

    /// The resource of a kind in a version.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = split_api_version(api_version);
        self.resources
            .iter()
            .find(|r| r.group == group && r.version == version && r.kind == kind)
    }

    /// Everything in a category, one a group and plural.
    pub fn category(&self, name: &str) -> Vec<&Resource> {
        let mut out: Vec<&Resource> = Vec::new();
        for r in self
            .resources
            .iter()
            .filter(|r| r.categories.iter().any(|c| c == name) && r.can("list"))
        {
            if !out
                .iter()
                .any(|o| o.group == r.group && o.plural == r.plural)
            {
                out.push(r);
            }
        }
        out
    }
}

/// Splits `group/version`.
pub fn split_api_version(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("", text))
}

/// Asks the server, or the disk.
pub struct Discovery {
    client: Client,
    dir: PathBuf,
    served: RefCell<Option<Rc<Served>>>,
    fresh: Cell<bool>,
    /// What users were warned of.
    warned: RefCell<HashSet<String>>,
}

const KEPT: Duration = Duration::from_secs(6 * 60 * 60);
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

impl Discovery {
    /// Keeps its answers under `cache/discovery/HOST`.
    pub fn new(client: Client, cache: &Path) -> Self {
        let safe: String = client
            .host()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '(' | ')') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        Discovery {
            client,
            dir: cache.join("discovery").join(safe),
            served: RefCell::default(),
            fresh: Cell::new(false),
            warned: RefCell::default(),
        }
    }

    /// What is served, from the disk if it is young enough.
    ///
    /// # Errors
    /// No answer from the server.
    pub async fn served(&self) -> Result<Rc<Served>> {
        if let Some(s) = self.served.borrow().clone() {
            return Ok(s);
        }
        if let Some(kept) = self.from_disk() {
            let kept = Rc::new(kept);
            *self.served.borrow_mut() = Some(kept.clone());
            return Ok(kept);
        }
        self.refresh().await
    }

    /// What is served, asked anew.
    pub async fn refresh(&self) -> Result<Rc<Served>> {
        let served = Rc::new(self.ask().await?);
        self.fresh.set(true);
        *self.served.borrow_mut() = Some(served.clone());
        Ok(served)
    }

    async fn find<T>(&self, pick: impl Fn(&Served) -> Option<T>) -> Result<Option<T>> {
        if let Some(found) = pick(&*self.served().await?) {
            return Ok(Some(found));
        }
        if self.fresh.get() {
            return Ok(None);
        }
        Ok(pick(&*self.refresh().await?))
    }

    /// The resource that the user's word means.
    ///
    /// # Errors
    /// `Error::NoResource` if nothing is called so.
    pub async fn lookup(&self, word: &str) -> Result<Resource> {
        let found = self.find(|s| s.lookup(word).cloned()).await?;
        if found.is_some() && !word.contains('.') {
            for other in self.served().await?.also_called(word) {
                let text = format!(
                    "short name {} could also match lower priority resource {other}",
                    quote(word)
                );
                if self.warned.borrow_mut().insert(text.clone()) {
                    eprintln!("Warning: {text}");
                }
            }
        }
        found.ok_or_else(|| match word.split_once('.') {
            Some((name, rest)) => match rest.split_once('.') {
                Some((version, group))
                    if version.starts_with('v')
                        && version[1..].starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    Error::NoResource {
                        resource: name.into(),
                        group: group.into(),
                        version: version.into(),
                    }
                }
                _ => Error::NoResource {
                    resource: name.into(),
                    group: rest.into(),
                    version: String::new(),
                },
            },
            None => Error::NoResource {
                resource: word.into(),
                group: String::new(),
                version: String::new(),
            },
        })
    }

    /// The resource of an object's `apiVersion` and `kind`.
    ///
    /// # Errors
    /// `no matches for kind …`
    pub async fn of_kind(&self, api_version: &str, kind: &str) -> Result<Resource> {
        let found = self.find(|s| s.of_kind(api_version, kind).cloned()).await?;
        found.ok_or_else(|| {
            Error::msg(format!(
                "no matches for kind {} in version {}",
                quote(kind),
                quote(api_version)
            ))
        })
    }

    /// The resource of a kind in whichever version the server prefers.
    pub async fn of_group_kind(&self, group: &str, kind: &str) -> Result<Resource> {
        let pick = |s: &Served| {
            let all = || {
                s.resources
                    .iter()
                    .filter(|r| r.group == group && r.kind == kind)
            };
            all()
                .find(|r| s.preferred(group) == Some(r.version.as_str()))
                .or_else(|| all().next())
                .cloned()
        };
        self.find(pick).await?.ok_or_else(|| {
            Error::msg(format!(
                "no matches for kind {} in group {}",
                quote(kind),
                quote(group)
            ))
        })
    }

    async fn ask(&self) -> Result<Served> {
        let mut served = Served::default();
        let mut lists: Vec<Value> = Vec::new();
        for path in ["/api", "/apis"] {
            let answer = match self.client.json(&Call::get(path).accept(AGGREGATED)).await {
                Ok(a) => a,
                Err(e) if path == "/api" && (e.is_not_found() || e.reason() == "Forbidden") => {
                    continue;
                }
                Err(e) => return Err(e),
            };
            if answer.text("kind") == "APIGroupDiscoveryList" {
                lists.extend(from_aggregated(&answer, &mut served));
            } else {
                lists.extend(self.ask_each(&answer, &mut served).await);
            }
        }
        served.resources = lists.iter().flat_map(resources_of).collect();
        self.to_disk(&served, &lists);
        Ok(served)
    }

    async fn ask_each(&self, answer: &Value, served: &mut Served) -> Vec<Value> {
        let mut lists = Vec::new();
        for (group, versions) in groups_of(answer) {
            for version in &versions {
                let (path, gv) = if group.is_empty() {
                    (format!("/api/{version}"), version.clone())
                } else {
                    (
                        format!("/apis/{group}/{version}"),
                        format!("{group}/{version}"),
                    )
                };
                match self.client.json(&Call::get(path)).await {
                    Ok(list) => lists.push(list),
                    Err(e) => served.failed.push((gv, e.to_string())),
                }
            }
            served.groups.push((group, versions));
        }
        lists
    }

    #[allow(
        clippy::wrong_self_convention,
        reason = "reads what this one keeps on disk"
    )]
    fn from_disk(&self) -> Option<Served> {
        let groups = read_young(&self.dir.join("servergroups.json"))?;
        let mut served = Served {
            groups: groups_of(&groups),
            ..Served::default()
        };
        for (group, versions) in &served.groups {
            for version in versions {
                let dir = if group.is_empty() {
                    self.dir.join(version)
                } else {
                    self.dir.join(group).join(version)
                };
                served.resources.extend(resources_of(&read_young(
                    &dir.join("serverresources.json"),
                )?));
            }
        }
        Some(served)
    }

    /// Failing to keep answers costs time later, nothing else.
    fn to_disk(&self, served: &Served, lists: &[Value]) {
        if !served.failed.is_empty() {
            return;
        }
        let entry = |group: &str, v: &String| json!({"groupVersion": if group.is_empty() { v.clone() } else { format!("{group}/{v}") }, "version": v});
        let groups: Vec<Value> = served
            .groups
            .iter()
            .map(|(g, vs)| json!({"name": g, "versions": vs.iter().map(|v| entry(g, v)).collect::<Vec<_>>(), "preferredVersion": vs.first().map(|v| entry(g, v))}))
            .collect();
        for list in lists {
            let gv = list.text("groupVersion");
            keep(&self.dir.join(gv).join("serverresources.json"), list);
        }
        keep(
            &self.dir.join("servergroups.json"),
            &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
        );
    }
}

fn read_young(path: &Path) -> Option<Value> {
    let age = std::fs::metadata(path)
        .ok()?
        .modified()
        .ok()?
        .elapsed()
        .unwrap_or_default();
    if age > KEPT {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn keep(path: &Path, value: &Value) {
    let Some(dir) = path.parent() else { return };
    let fresh = dir.join(format!(
        ".{}.{}",
        path.file_name().and_then(|n| n.to_str()).unwrap_or("x"),
        std::process::id()
    ));
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&fresh, value.to_string()))
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(e) = written {
        tracing::debug!("{} was not kept: {e}", path.display());
    }
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(String::from))
        .collect()
}

/// Groups and versions, preferred ones first, of an `APIGroupList` or `APIVersions`.
fn groups_of(answer: &Value) -> Vec<(String, Vec<String>)> {
    if answer.text("kind") == "APIVersions" {
        return vec![(String::new(), texts(answer.at("versions")))];
    }
    let one = |g: &Value| {
        let mut versions: Vec<String> = g
            .list("versions")
            .iter()
            .filter_map(|v| v.text_ptr("version").map(String::from))
            .collect();
        if let Some(at) = versions
            .iter()
            .position(|v| Some(v.as_str()) == g.at("preferredVersion").text_ptr("version"))
        {
            let first = versions.remove(at);
            versions.insert(0, first);
        }
        (g.text("name").to_string(), versions)
    };
    answer.list("groups").iter().map(one).collect()
}

/// The `APIResourceList`s that an aggregated document stands for.
fn from_aggregated(answer: &Value, served: &mut Served) -> Vec<Value> {
    let mut lists = Vec::new();
    for g in answer.list("items") {
        let group = g.at("metadata").text("name");
        let mut versions = Vec::new();
        for v in g.list("versions") {
            let version = v.text("version");
            let gv = if group.is_empty() {
                version.to_string()
            } else {
                format!("{group}/{version}")
            };
            if v.text("freshness") == "Stale" {
                served
                    .failed
                    .push((gv.clone(), format!("stale GroupVersion discovery: {gv}")));
            }
            let mut items = Vec::new();
            for r in v.list("resources") {
                let namespaced = r.text("scope") == "Namespaced";
                let name = r.text("resource");
                if !r.at("responseKind").is_null() {
                    items.push(json!({"name": name, "singularName": r.at("singularResource"), "namespaced": namespaced, "kind": r.at("responseKind").at("kind"), "verbs": r.at("verbs"), "shortNames": r.at("shortNames"), "categories": r.at("categories")}));
                }
                for s in r.list("subresources") {
                    let sub = s.text("subresource");
                    let made = s.at("responseKind");
                    items.push(json!({"name": format!("{name}/{sub}"), "singularName": "", "namespaced": namespaced, "kind": made.at("kind"), "group": made.at("group"), "version": made.at("version"), "verbs": s.at("verbs")}));
                }
            }
            versions.push(version.to_string());
            lists.push(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": strip_nulls(items)}));
        }
        served.groups.push((group.to_string(), versions));
    }
    lists
}

fn strip_nulls(items: Vec<Value>) -> Vec<Value> {
    items
        .into_iter()
        .map(|mut i| {
            if let Some(m) = i.as_object_mut() {
                m.retain(|_, v| !v.is_null());
            }
            i
        })
        .collect()
}

/// The resources of an `APIResourceList`, sub-resources gathered under theirs.
fn resources_of(list: &Value) -> Vec<Resource> {
    let (group, version) = split_api_version(list.text("groupVersion"));
    let mut out: Vec<Resource> = Vec::new();
    for r in list.list("resources") {
        let name = r.text("name");
        if let Some((parent, sub)) = name.split_once('/') {
            if let Some(p) = out.iter_mut().find(|p| p.plural == parent) {
                p.subresources.push(sub.to_string());
            }
            continue;
        }
        let kind = r.text("kind");
        let singular = r
            .text_ptr("singularName")
            .filter(|s| !s.is_empty())
            .map_or_else(|| kind.to_lowercase(), String::from);
        out.push(Resource {
            group: group.into(),
            version: version.into(),
            plural: name.into(),
            singular,
            kind: kind.into(),
            namespaced: r.flag("namespaced"),
            verbs: texts(r.at("verbs")),
            short_names: texts(r.at("shortNames")),
            categories: texts(r.at("categories")),
            subresources: Vec::new(),
        });
    }
    out
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A small server's answer.
    pub fn sample() -> Served {
        let core = json!({"groupVersion": "v1", "resources": [
            {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"], "shortNames": ["po"], "categories": ["all"]},
            {"name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": true, "verbs": ["get"]},
            {"name": "events", "singularName": "event", "kind": "Event", "namespaced": true, "verbs": ["list"], "shortNames": ["ev"]}]});
        let apps = json!({"groupVersion": "apps/v1", "resources": [{"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": true, "verbs": ["list"], "shortNames": ["deploy"], "categories": ["all"]}]});
        let (old, new) = (
            json!({"groupVersion": "autoscaling/v1", "resources": [{"name": "horizontalpodautoscalers", "kind": "HorizontalPodAutoscaler", "namespaced": true, "verbs": [], "shortNames": ["hpa"]}]}),
            json!({"groupVersion": "autoscaling/v2", "resources": [{"name": "horizontalpodautoscalers", "kind": "HorizontalPodAutoscaler", "namespaced": true, "verbs": [], "shortNames": ["hpa"]}]}),
        );
        Served {
            groups: vec![
                ("".into(), vec!["v1".into()]),
                ("apps".into(), vec!["v1".into()]),
                ("autoscaling".into(), vec!["v2".into(), "v1".into()]),
            ],
            resources: [core, apps, old, new]
                .iter()
                .flat_map(resources_of)
                .collect(),
            failed: vec![],
        }
    }

    #[test]
    fn words_become_resources() {
        let s = sample();
        for (word, want) in [
            ("po", Some("v1 pods")),
            ("Pod", Some("v1 pods")),
            ("pods.v1.", Some("v1 pods")),
            ("deploy", Some("apps/v1 deployments")),
            ("deployments.apps", Some("apps/v1 deployments")),
            ("deployments.v1.apps", Some("apps/v1 deployments")),
            ("deploy.ap", Some("apps/v1 deployments")),
            ("deployments.nosuch", None),
            ("hpa", Some("autoscaling/v2 horizontalpodautoscalers")),
            (
                "hpa.v1.autoscaling",
                Some("autoscaling/v1 horizontalpodautoscalers"),
            ),
            ("ev", Some("v1 events")),
            ("", None),
            ("all", None),
        ] {
            assert_eq!(
                s.lookup(word)
                    .map(|r| format!("{} {}", r.api_version(), r.plural))
                    .as_deref(),
                want,
                "{word}"
            );
        }
        let mut two = sample();
        let mut other = two.resources[0].clone();
        (other.group, other.plural, other.singular) = ("g".into(), "posts".into(), "post".into());
        two.resources.push(other);
        assert_eq!(two.also_called("po"), ["posts.g"]);
        assert!(two.also_called("hpa").is_empty() && two.also_called("posts").is_empty());
        assert_eq!(s.category("all").len(), 2);
        assert_eq!(s.resources[0].subresources, ["log"]);
        assert_eq!(
            s.resources[0].object("n", "x"),
            "/api/v1/namespaces/n/pods/x"
        );
    }
}
