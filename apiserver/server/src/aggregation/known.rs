//! What is known of APIServices: which groups and versions there are, in which order they are shown, and which are somebody else's.
//!
//! Invariant: it is replaced whole; a request takes it once. Nothing here waits.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper/helpers.go` for the order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use serde_json::{Map, Value};
use skiff_api::{
    kinds::{Priority, Registry},
    machinery::{names::compare_versions, read::Read},
};

use crate::{dial::location::Server, request::RequestInfo};

/// The service that serves a group's version, and the port to ask it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

/// An APIService whose spec names a service.
#[derive(Debug)]
pub struct Remote {
    pub backend: Backend,
    /// How to speak to it; else what is wrong with what its spec says of that.
    pub server: Result<Server, String>,
    /// Its condition says so.
    pub available: bool,
    pub learned: Arc<Learned>,
}

/// What a server behind this one told of a group's version.
#[derive(Debug, Default)]
pub struct Learned {
    /// Its resources as the aggregated discovery document has them.
    pub resources: Vec<Value>,
    /// It answered when it was asked last.
    pub current: bool,
    /// The documents of OpenAPI 3 that it has: by their paths, where they are.
    pub version3: Map<String, Value>,
    /// Its OpenAPI 2 document, of this version alone.
    pub version2: Option<Arc<Value>>,
    /// That it answers nothing else than this is told by these tags.
    pub tags: Tags,
}

/// The tags of documents that were read, by their paths.
pub type Tags = BTreeMap<&'static str, String>;

/// An APIService.
#[derive(Debug)]
pub struct Service {
    pub group: String,
    pub version: String,
    pub priority: Priority,
    /// `None`: its kinds are this server's own.
    pub remote: Option<Remote>,
}

/// A group in discovery, its versions as they are preferred.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub versions: Vec<String>,
    priority: i64,
}

#[derive(Debug, Default)]
pub struct Known {
    /// By name.
    services: BTreeMap<String, Arc<Service>>,
    /// Some are somebody else's.
    has_remotes: bool,
    /// Another number when servers behind this one have other documents of OpenAPI 2.
    pub documents: u64,
}

impl Known {
    pub fn new(services: BTreeMap<String, Arc<Service>>, documents: u64) -> Known {
        Known {
            has_remotes: services.values().any(|service| service.remote.is_some()),
            services,
            documents,
        }
    }

    pub fn has_remotes(&self) -> bool {
        self.has_remotes
    }

    /// Names of APIServices, and whether each can be asked; this server's own always can.
    pub fn availability(&self) -> impl Iterator<Item = (&str, bool)> {
        let available = |service: &Service| service.remote.as_ref().is_none_or(|of| of.available);
        let services = self.services.iter();
        services.map(move |(name, service)| (name.as_str(), available(service)))
    }

    /// The server behind this one that has a version of a group.
    pub fn remote(&self, group: &str, version: &str) -> Option<&Remote> {
        let name = format!("{version}.{group}");
        self.services
            .get(&name)?
            .remote
            .as_ref()
            .filter(|_| !group.is_empty())
    }

    /// Those whose kinds are somebody else's, in the order in which documents are merged.
    pub fn remotes(&self) -> impl Iterator<Item = (&Arc<Service>, &Remote)> {
        let mut all: Vec<_> = self.services.iter().collect();
        let priority = |group: &str| {
            let of = self
                .services
                .values()
                .filter(|service| service.group == group);
            of.map(|service| service.priority.group).max()
        };
        all.sort_by_cached_key(|(name, service)| {
            let (group, version) = (priority(&service.group), service.priority.version);
            (
                Reverse(group),
                service.group.clone(),
                Reverse(version),
                name.to_string(),
            )
        });
        all.into_iter()
            .filter_map(|(_, service)| Some((service, service.remote.as_ref()?)))
    }

    /// Whether a request is somebody else's to answer, and whose.
    pub fn answers(&self, kinds: &Registry, info: &RequestInfo) -> Option<&Remote> {
        let mut parts = info.path.split('/').filter(|part| !part.is_empty());
        match (parts.next()?, parts.next()?, parts.next()?) {
            ("apis", group, version) => self.remote(group, version),
            ("openapi", "v3", _) => {
                let path = info.path.trim_start_matches('/');
                self.document(kinds, path.strip_prefix("openapi/v3/")?)
            }
            _ => None,
        }
    }

    /// Who has a document of OpenAPI 3 that this server has not.
    fn document(&self, kinds: &Registry, path: &str) -> Option<&Remote> {
        let (_, remote) = self
            .remotes()
            .find(|(_, remote)| remote.learned.version3.contains_key(path))?;
        (!self.is_own(kinds, path)).then_some(remote)
    }

    /// Whether this server has one of its documents of OpenAPI 3 (`apis/GROUP/VERSION`, or what has another root) itself.
    pub fn is_own(&self, kinds: &Registry, path: &str) -> bool {
        match path
            .strip_prefix("apis/")
            .and_then(|path| path.split_once('/'))
        {
            Some((group, version)) => {
                self.remote(group, version).is_none()
                    && kinds
                        .all()
                        .iter()
                        .any(|kind| (kind.group, kind.version) == (group, version))
            }
            None => true,
        }
    }

    /// All groups but the legacy one, as a list of groups shows them.
    pub fn groups(&self, kinds: &Registry) -> Vec<Group> {
        let mut priorities: BTreeMap<(&str, &str), Priority> = BTreeMap::new();
        for kind in kinds.all() {
            if let Entry::Vacant(place) = priorities.entry((kind.group, kind.version)) {
                place.insert(kind.priority);
            }
        }
        for service in self.services.values() {
            priorities.insert((&service.group, &service.version), service.priority);
        }
        let mut all: Vec<((&str, &str), Priority)> = priorities
            .into_iter()
            .filter(|((group, _), _)| !group.is_empty())
            .collect();
        all.sort_by_cached_key(|((group, version), priority)| {
            (Reverse(priority.group), format!("{version}.{group}"))
        });
        let mut groups: Vec<(Group, Vec<i64>)> = Vec::new();
        for ((name, version), priority) in all {
            let at = groups.iter().position(|(group, _)| group.name == name);
            let (group, ahead) = match at {
                Some(at) => &mut groups[at],
                None => {
                    let group = Group {
                        name: name.to_owned(),
                        versions: Vec::new(),
                        priority: priority.group,
                    };
                    groups.push((group, Vec::new()));
                    let last = groups.len() - 1;
                    &mut groups[last]
                }
            };
            let at = group
                .versions
                .iter()
                .zip(&*ahead)
                .position(|(other, other_ahead)| {
                    (priority.version.cmp(other_ahead))
                        .reverse()
                        .then_with(|| compare_versions(version, other))
                        .is_lt()
                })
                .unwrap_or(ahead.len());
            group.versions.insert(at, version.to_owned());
            ahead.insert(at, priority.version);
        }
        groups.into_iter().map(|(group, _)| group).collect()
    }

    /// The same as the aggregated document shows them, which tells equal ones apart by their names.
    pub fn groups_by_name(&self, kinds: &Registry) -> Vec<Group> {
        let mut groups = self.groups(kinds);
        groups.sort_by(|one, other| {
            (other.priority.cmp(&one.priority)).then_with(|| one.name.cmp(&other.name))
        });
        groups
    }
}

/// What the spec of an APIService says of the service behind it; `None`: its kinds are this server's own.
pub fn backend(spec: &Value) -> Option<Backend> {
    let service = spec.some("service")?;
    Some(Backend {
        namespace: service.text("namespace").into(),
        name: service.text("name").into(),
        // no service has a port 0
        port: u16::try_from(service.int_ptr("port").unwrap_or(443)).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(group: &str, version: &str, priority: (i64, i64)) -> (String, Arc<Service>) {
        let service = Service {
            group: group.into(),
            version: version.into(),
            priority: Priority {
                group: priority.0,
                version: priority.1,
            },
            remote: None,
        };
        (format!("{version}.{group}"), Arc::new(service))
    }

    #[test]
    fn groups_stand_by_priority_and_then_by_the_names_of_their_services() {
        let known = Known::new(
            BTreeMap::from([
                service("z.example.com", "v1", (1000, 10)),
                service("a.example.com", "v2", (1000, 10)),
                service("m.example.com", "v1beta1", (17760, 5)),
                service("m.example.com", "v1", (100, 5)),
                service("m.example.com", "v2alpha1", (100, 9)),
            ]),
            0,
        );
        let groups = known.groups(Registry::builtin());
        let place = |name: &str| {
            groups
                .iter()
                .position(|group| group.name == name)
                .unwrap_or_else(|| panic!("{name}"))
        };
        assert_eq!(place("apiregistration.k8s.io"), 0);
        assert_eq!(place("m.example.com") + 1, place("events.k8s.io"));
        assert_eq!(
            groups[place("m.example.com")].versions,
            ["v2alpha1", "v1", "v1beta1"]
        );
        assert_eq!(groups[place("autoscaling")].versions, ["v2", "v1"]);
        assert!(place("z.example.com") < place("a.example.com"));
        let named = known.groups_by_name(Registry::builtin());
        let last: Vec<&str> = named[named.len() - 2..]
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        assert_eq!(last, ["a.example.com", "z.example.com"]);
    }

    /// The order of the tables of kinds is that of the priorities, so nothing moves when nobody has registered anything.
    #[test]
    fn built_in_groups_stand_as_the_table_has_them() {
        let mut named: Vec<&str> = Vec::new();
        for kind in Registry::builtin().all() {
            if !kind.group.is_empty() && !named.contains(&kind.group) {
                named.push(kind.group);
            }
        }
        let groups = Known::default().groups(Registry::builtin());
        let groups: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(groups, named);
    }
}
