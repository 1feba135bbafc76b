//! What the server serves: groups, versions, resources, and how words of the user become one of them. `ask` asks for it and keeps the answers.
//! Behaviour follows `staging/src/k8s.io/client-go/restmapper` (shortcut, category, priority).

mod ask;

pub use ask::Discovery;

/// One resource that is served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    /// As the server tells it; some tell none.
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
    /// What one is called: the kind, where the server does not tell.
    pub fn singular(&self) -> &str {
        match self.singular.as_str() {
            "" => &self.kind,
            told => told,
        }
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
    /// Names are the same in capitals; short names are not.
    fn is_called(&self, word: &str) -> bool {
        self.is_named(word)
            || self.kind.eq_ignore_ascii_case(word)
            || self.short_names.iter().any(|s| s == word)
    }
    fn is_named(&self, word: &str) -> bool {
        self.plural.eq_ignore_ascii_case(word) || self.singular().eq_ignore_ascii_case(word)
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
            .find(|r| r.is_named(word));
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
        if self.resources.iter().any(|r| r.is_named(word)) {
            return Vec::new();
        }
        let mut called: Vec<String> = Vec::new();
        for r in self
            .resources
            .iter()
            .filter(|r| r.short_names.iter().any(|s| s == word))
        {
            let name = r.group_resource();
            if !called.contains(&name) {
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

#[cfg(test)]
pub mod tests {
    use super::ask::resources_of;
    use super::*;
    use serde_json::json;

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
            ("PODS", Some("v1 pods")),
            ("PO", None),
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
        let metrics = json!({"groupVersion": "m/v1", "resources": [{"name": "pods", "singularName": "", "kind": "PodMetrics", "verbs": ["get"]}]});
        two.resources.extend(resources_of(&metrics));
        let measured = two.lookup("podmetrics").unwrap();
        // none is told, and so none is shown
        assert_eq!(
            (measured.group.as_str(), measured.singular.as_str()),
            ("m", "")
        );
        assert!(two.also_called("hpa").is_empty() && two.also_called("posts").is_empty());
        assert_eq!(s.category("all").len(), 2);
        assert_eq!(s.resources[0].subresources, ["log"]);
        assert_eq!(
            s.resources[0].object("n", "x"),
            "/api/v1/namespaces/n/pods/x"
        );
    }
}
