//! Asks the server for what it serves, and keeps the answers.
//! Invariant: answers kept on disk are used for six hours and read again as soon as a word matches nothing in them.
//! Behaviour follows `staging/src/k8s.io/client-go/discovery/cached/disk`.

use super::{Resource, Served, split_api_version};
use crate::client::{Call, Client};
use crate::error::{Error, Result, quote};
use crate::replace_file::replace_file;
use crate::typed::Read;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

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

    /// What is served, for a question that upstream's mapper asks the server as often as `asks` says when it gets no answer: each time is told of.
    async fn served_for(&self, asks: usize) -> Result<Rc<Served>> {
        let served = self.served().await;
        served.inspect_err(|why| tell_unanswered(why, asks))
    }

    async fn find<T>(&self, asks: usize, pick: impl Fn(&Served) -> Option<T>) -> Result<Option<T>> {
        if let Some(found) = pick(&*self.served_for(asks).await?) {
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
        self.looked_up(word, ONCE).await
    }

    /// The same of a word that may be a kind as well as a resource.
    ///
    /// # Errors
    /// As `lookup`.
    pub async fn mapping(&self, word: &str) -> Result<Resource> {
        let specified = word.matches('.').count() >= 2;
        let asks = if specified { 3 * ONCE } else { 2 * ONCE };
        self.looked_up(word, asks).await
    }

    /// All that a category stands for; none if nothing is called so.
    ///
    /// # Errors
    /// No answer from the server.
    pub async fn category(&self, word: &str) -> Result<Vec<Resource>> {
        let served = self.served_for(1).await?;
        Ok(served.category(word).into_iter().cloned().collect())
    }

    /// What is served, to look at a word in several ways.
    ///
    /// # Errors
    /// No answer from the server.
    pub async fn served_once(&self) -> Result<Rc<Served>> {
        self.served_for(ONCE).await
    }

    /// All that is served, asked anew, for a verb that shows it.
    ///
    /// # Errors
    /// No answer from the server.
    pub async fn all(&self) -> Result<Rc<Served>> {
        let served = self.refresh().await;
        served.inspect_err(|why| tell_unanswered(why, 1))
    }

    async fn looked_up(&self, word: &str, asks: usize) -> Result<Resource> {
        let found = self.find(asks, |s| s.lookup(word).cloned()).await?;
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
        self.of_object(api_version, kind, 1).await
    }

    /// The same where the server is asked so often.
    ///
    /// # Errors
    /// As `of_kind`.
    pub async fn of_object(&self, api_version: &str, kind: &str, asks: usize) -> Result<Resource> {
        let found = self
            .find(asks, |s| s.of_kind(api_version, kind).cloned())
            .await?;
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
        self.find(1, pick).await?.ok_or_else(|| {
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
        for begin in ["/api", "/apis"] {
            let path = format!("{begin}?timeout={}", self.client.patience());
            let call = Call::raw(path).accept(AGGREGATED);
            let answer = match self.client.json(&call).await {
                Ok(a) => a,
                Err(e) if begin == "/api" && (e.is_not_found() || e.reason() == "Forbidden") => {
                    continue;
                }
                Err(e) => return Err(unread(e)),
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

/// What an answer that is no success stands for: clients look at its code alone, not at what it says.
fn unread(why: Error) -> Error {
    let Error::Status(status) = &why else {
        return why;
    };
    let code = u16::try_from(why.code()).unwrap_or_default();
    let (reason, message) = crate::client::generic(&http::Method::GET, code, "unknown");
    let mut status = status.clone();
    (status["reason"], status["message"]) = (json!(reason), json!(message));
    Error::Status(status)
}

/// How often upstream's mapper asks for one word: for short names, and for names.
const ONCE: usize = 2;

/// What kubectl's log says when the server does not tell what it serves, as often as it would have been asked.
fn tell_unanswered(why: &Error, asks: usize) {
    if !crate::command::is_kubectl() || !matches!(why, Error::Connection { .. } | Error::Status(_))
    {
        return;
    }
    let why = format!("couldn't get current server API group list: {why}");
    for _ in 0..asks {
        let text = format!("\"Unhandled Error\" err={}", quote(&why));
        crate::client::klog('E', "memcache.go:265", &text);
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
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| replace_file(path, 0o666, value.to_string().as_bytes()));
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
pub(super) fn resources_of(list: &Value) -> Vec<Resource> {
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
        out.push(Resource {
            group: group.into(),
            version: version.into(),
            plural: name.into(),
            singular: r.text("singularName").into(),
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
