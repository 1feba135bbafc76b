//! What is looked at of a pod, and the words in which it is told.

use serde_json::Value;
use skiff_api::machinery::read::Read;

/// What is checked: a pod, or the template of some.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
    /// The minor release whose rules it is held to; the greatest number for the newest.
    pub minor: u32,
}

/// Why a pod is not let in.
pub struct Fault {
    pub reason: &'static str,
    pub detail: String,
}

pub type Outcome = Option<Fault>;

impl<'a> Pod<'a> {
    /// In the order in which they are told.
    pub fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| self.spec.list(list))
    }

    /// The names of the containers of which it is true.
    pub fn named(self, is: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| is(container))
            .map(|container| container.text("name"))
            .collect()
    }

    pub fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.metadata
            .entries("annotations")
            .map(|(name, value)| (name, value.as_str().unwrap_or_default()))
    }

    /// It is for Windows, in a release that asks less of such.
    pub fn is_spared_for_windows(self) -> bool {
        self.minor >= 25 && self.spec.at("os").text("name") == "windows"
    }

    /// Its users are not the machine's, in a release that asks less of such.
    pub fn is_spared_for_its_users(self) -> bool {
        self.minor >= 35 && self.spec.flag_ptr("hostUsers") == Some(false)
    }
}

pub(super) fn context(of: &Value) -> &Value {
    of.at("securityContext")
}

pub(super) fn plural<'t>(one: &'t str, many: &'t str, count: usize) -> &'t str {
    if count == 1 { one } else { many }
}

pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.as_ref()))
        .collect();
    items.join(", ")
}

/// `containers "a", "b"`.
pub(super) fn those(containers: &[&str]) -> String {
    let word = plural("container", "containers", containers.len());
    format!("{word} {}", quoted(containers))
}

/// `pod and container "a"`: who sets what may not be set.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    match (pod, containers.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".into()),
        (false, false) => Some(those(containers)),
        (true, false) => Some(format!("pod and {}", those(containers))),
    }
}

pub(super) fn fault(reason: &'static str, detail: String) -> Outcome {
    Some(Fault { reason, detail })
}
