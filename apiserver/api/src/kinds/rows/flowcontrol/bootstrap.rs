//! The FlowSchemas and PriorityLevelConfigurations that every cluster has. Those that are mandatory cannot be changed (of `exempt`, the
//! field `spec.exempt` can); the others are suggestions.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go`.

use crate::kinds::prelude::*;

struct Level {
    name: &'static str,
    shares: i64,
    lendable: i64,
    does: Does,
}

enum Does {
    Exempt,
    Reject,
    /// Queues, and hands of so many.
    Queue(i64, i64),
}

const LEVELS: &[Level] = &[
    Level {
        name: "exempt",
        shares: 0,
        lendable: 0,
        does: Does::Exempt,
    },
    Level {
        name: "catch-all",
        shares: 5,
        lendable: 0,
        does: Does::Reject,
    },
    Level {
        name: "system",
        shares: 30,
        lendable: 33,
        does: Does::Queue(64, 6),
    },
    Level {
        name: "node-high",
        shares: 40,
        lendable: 25,
        does: Does::Queue(64, 6),
    },
    Level {
        name: "leader-election",
        shares: 10,
        lendable: 0,
        does: Does::Queue(16, 4),
    },
    Level {
        name: "workload-high",
        shares: 40,
        lendable: 50,
        does: Does::Queue(128, 6),
    },
    Level {
        name: "workload-low",
        shares: 100,
        lendable: 90,
        does: Does::Queue(128, 6),
    },
    Level {
        name: "global-default",
        shares: 20,
        lendable: 50,
        does: Does::Queue(128, 6),
    },
];

struct Flow {
    name: &'static str,
    level: &'static str,
    precedence: i64,
    /// The distinguisher, where there is one.
    by: Option<&'static str>,
    subjects: &'static [Subject],
    about: About,
}

enum Subject {
    Group(&'static str),
    User(&'static str),
    /// All of a namespace.
    ServiceAccounts(&'static str),
}

enum About {
    Everything,
    Urls(&'static [&'static str]),
    /// Verbs, API group, resources; whether of the cluster, too.
    Resources(
        &'static [(
            &'static [&'static str],
            &'static str,
            &'static [&'static str],
            bool,
        )],
    ),
}

const EVERYBODY: &[Subject] = &[
    Subject::Group("system:unauthenticated"),
    Subject::Group("system:authenticated"),
];
const NODES: &[Subject] = &[Subject::Group("system:nodes")];
const CONTROLLERS: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const USER: Option<&str> = Some("ByUser");
const NAMESPACE: Option<&str> = Some("ByNamespace");

const fn flow(
    name: &'static str,
    level: &'static str,
    precedence: i64,
    by: Option<&'static str>,
    subjects: &'static [Subject],
    about: About,
) -> Flow {
    Flow {
        name,
        level,
        precedence,
        by,
        subjects,
        about,
    }
}

const FLOWS: &[Flow] = &[
    flow(
        "exempt",
        "exempt",
        1,
        None,
        &[Subject::Group("system:masters")],
        About::Everything,
    ),
    flow(
        "catch-all",
        "catch-all",
        10000,
        USER,
        EVERYBODY,
        About::Everything,
    ),
    flow(
        "system-nodes",
        "system",
        500,
        USER,
        NODES,
        About::Everything,
    ),
    flow(
        "system-node-high",
        "node-high",
        400,
        USER,
        NODES,
        About::Resources(&[
            (&["*"], "", &["nodes", "nodes/status"], true),
            (&["*"], "coordination.k8s.io", &["leases"], false),
        ]),
    ),
    flow(
        "probes",
        "exempt",
        2,
        None,
        EVERYBODY,
        About::Urls(&["/healthz", "/readyz", "/livez"]),
    ),
    flow(
        "system-leader-election",
        "leader-election",
        100,
        USER,
        &[
            Subject::User(CONTROLLERS),
            Subject::User(SCHEDULER),
            Subject::ServiceAccounts("kube-system"),
        ],
        About::Resources(&[(
            &["get", "create", "update"],
            "coordination.k8s.io",
            &["leases"],
            false,
        )]),
    ),
    flow(
        "kube-controller-manager",
        "workload-high",
        800,
        NAMESPACE,
        &[Subject::User(CONTROLLERS)],
        About::Everything,
    ),
    flow(
        "kube-scheduler",
        "workload-high",
        800,
        NAMESPACE,
        &[Subject::User(SCHEDULER)],
        About::Everything,
    ),
    flow(
        "kube-system-service-accounts",
        "workload-high",
        900,
        NAMESPACE,
        &[Subject::ServiceAccounts("kube-system")],
        About::Everything,
    ),
    flow(
        "service-accounts",
        "workload-low",
        9000,
        USER,
        &[Subject::Group("system:serviceaccounts")],
        About::Everything,
    ),
    flow(
        "global-default",
        "global-default",
        9900,
        USER,
        EVERYBODY,
        About::Everything,
    ),
];

/// How many of either list, from its start, are mandatory.
const MANDATORY: usize = 2;

/// All PriorityLevelConfigurations.
pub fn priority_levels() -> impl Iterator<Item = Value> {
    LEVELS.iter().map(|level| object(level.name, level.spec()))
}

/// All FlowSchemas.
pub fn flow_schemas() -> impl Iterator<Item = Value> {
    FLOWS.iter().map(|flow| object(flow.name, flow.spec()))
}

/// The spec of the mandatory PriorityLevelConfiguration of this name.
pub fn mandatory_level(name: &str) -> Option<Value> {
    LEVELS[..MANDATORY]
        .iter()
        .find(|level| level.name == name)
        .map(Level::spec)
}

/// The spec of the mandatory FlowSchema of this name.
pub fn mandatory_flow(name: &str) -> Option<Value> {
    FLOWS[..MANDATORY]
        .iter()
        .find(|flow| flow.name == name)
        .map(Flow::spec)
}

fn object(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}, "spec": spec})
}

impl Level {
    fn spec(&self) -> Value {
        let response = match self.does {
            Does::Exempt => {
                return json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": self.shares, "lendablePercent": self.lendable}});
            }
            Does::Reject => json!({"type": "Reject"}),
            Does::Queue(queues, hand) => {
                json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
            }
        };
        let limited = json!({"nominalConcurrencyShares": self.shares, "lendablePercent": self.lendable, "limitResponse": response});
        json!({"type": "Limited", "limited": limited})
    }
}

impl Flow {
    fn spec(&self) -> Value {
        let mut rule =
            json!({"subjects": self.subjects.iter().map(Subject::value).collect::<Vec<_>>()});
        let resources = |verbs: &[&str], group: &str, resources: &[&str], cluster: bool| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
            if cluster {
                rule["clusterScope"] = true.into();
            }
            rule
        };
        let urls = |verb: &str, urls: &[&str]| json!([{"verbs": [verb], "nonResourceURLs": urls}]);
        match self.about {
            About::Everything => {
                rule["resourceRules"] = json!([resources(&["*"], "*", &["*"], true)]);
                rule["nonResourceRules"] = urls("*", &["*"]);
            }
            About::Urls(paths) => rule["nonResourceRules"] = urls("get", paths),
            About::Resources(rules) => {
                rule["resourceRules"] = rules
                    .iter()
                    .map(|(verbs, group, names, cluster)| resources(verbs, group, names, *cluster))
                    .collect();
            }
        }
        let mut spec = json!({"priorityLevelConfiguration": {"name": self.level}, "matchingPrecedence": self.precedence, "rules": [rule]});
        if let Some(by) = self.by {
            spec["distinguisherMethod"] = json!({"type": by});
        }
        spec
    }
}

impl Subject {
    fn value(&self) -> Value {
        match self {
            Subject::Group(name) => json!({"kind": "Group", "group": {"name": name}}),
            Subject::User(name) => json!({"kind": "User", "user": {"name": name}}),
            Subject::ServiceAccounts(namespace) => {
                json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": "*"}})
            }
        }
    }
}
