//! The default policy of a new cluster, as `policy.txt` has it: cluster roles, the roles of controllers, namespaced roles, and who is bound to them.
//!
//! Invariant: the same roles with the same rules as upstream, which a test of this folder compares with a recording of the real server.
//! Follows `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`.

use std::sync::LazyLock;

/// An object of the policy; what its kind does not have is empty.
pub struct Entry {
    /// `aggregated`, `aggregate`, `clusterrole`, `clusterrolebinding`, `controller`, `role`, `rolebinding`.
    pub kind: &'static str,
    pub namespace: &'static str,
    pub name: &'static str,
    /// The role that is bound, or aggregated to.
    pub role: &'static str,
    /// `Kind name` or `Kind namespace/name`, with commas between.
    pub subjects: &'static str,
    /// As [`crate::auth::authorize::rule::parse`] reads them.
    pub rules: Vec<&'static str>,
}

impl Entry {
    fn read(line: &'static str) -> Entry {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(" | ");
        let mut next = || words.next().unwrap_or("");
        let namespaced = matches!(kind, "role" | "rolebinding");
        Entry {
            kind,
            namespace: if namespaced { next() } else { "" },
            name: next(),
            role: next(),
            subjects: next(),
            rules: Vec::new(),
        }
    }
}

/// All of it, in the order of the file.
pub static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = Vec::new();
    for line in include_str!("policy.txt").lines() {
        match (line.strip_prefix("  "), entries.last_mut()) {
            (Some(rule), Some(entry)) => entry.rules.push(rule),
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => entries.push(Entry::read(line)),
        }
    }
    entries
});

pub fn all(kind: &str) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(move |entry| entry.kind == kind)
}

pub fn cluster_role(name: &str) -> Option<&'static Entry> {
    all("clusterrole").find(|role| role.name == name)
}
