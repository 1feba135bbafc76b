//! What is seen of the shop while the day goes on: its tills, how many there are to be, the nodes, and what the thief and the vault say.
//!
//! Invariant: one task writes what is seen; everybody else reads, or waits for it to change.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Node, Pod},
};
use serde::{Deserialize, Serialize};
use skiff_podspec::conditions::is_ready;
use skiff_watching::{
    api::Api,
    clock::Clock,
    events::Events,
    follow::{Seen, Selection, follow},
    unreadable::Unreadable,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{chronicle::Chronicle, ground::NodeOf, stage};
use crate::cluster::shop::thief::Loot;

const VAULT_LOOK: Duration = Duration::from_secs(1);

/// A till, as its pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Till {
    pub node: String,
    /// `v1`, `v2`.
    pub version: String,
    pub ready: bool,
    /// It was told to leave.
    pub leaving: bool,
    pub restarts: i32,
}

/// What the vault says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault {
    /// How often a till brought its takings.
    pub deliveries: u64,
    pub sales: u64,
}

/// What a vault says, whose sums begin anew when its process does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// By those who were before.
    before: Vault,
    last: Vault,
}

impl Said {
    fn hear(&mut self, vault: Vault) {
        if vault.deliveries < self.last.deliveries || vault.sales < self.last.sales {
            self.before = self.sum();
        }
        self.last = vault;
    }

    fn sum(&self) -> Vault {
        Vault {
            deliveries: self.before.deliveries + self.last.deliveries,
            sales: self.before.sales + self.last.sales,
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    pub tills: BTreeMap<String, Till>,
    /// How many tills there are to be.
    pub wanted: i32,
    /// The Deployment is whole: all its tills are of its version, and ready.
    pub whole: bool,
    /// Whether each node is ready.
    pub nodes: BTreeMap<String, bool>,
    /// Nodes that have the vault or the thief.
    pub others_on: BTreeMap<String, String>,
    pub thief: Loot,
    pub vault: Vault,
    /// By the vaults' pods, also those that are gone.
    pub said: BTreeMap<String, Said>,
}

impl Sight {
    /// What is missing of the shop and of the nodes that take its customers in; nothing when the day can begin.
    pub fn lacks(&self, nodes: &[NodeOf]) -> Vec<String> {
        let mut missing = Vec::new();
        let ready = self.ready();
        if !self.whole || ready == 0 || i32::try_from(ready) != Ok(self.wanted) {
            missing.push(format!("{ready} of {} tills", self.wanted));
        }
        let silent = nodes
            .iter()
            .filter(|node| self.nodes.get(&node.name) != Some(&true));
        missing.extend(silent.map(|node| format!("{} is not ready", node.name)));
        if self.others_on.len() < 2 {
            missing.push("the vault or the thief".to_owned());
        }
        missing
    }

    fn hear(&mut self, pod: &str, vault: Vault) {
        self.said.entry(pod.to_owned()).or_default().hear(vault);
        self.vault = Vault::default();
        for said in self.said.values().map(Said::sum) {
            self.vault.deliveries += said.deliveries;
            self.vault.sales += said.sales;
        }
    }

    /// Tills that are ready and stay.
    pub fn ready(&self) -> usize {
        self.staying().filter(|(_, till)| till.ready).count()
    }

    /// Tills that were not told to leave.
    pub fn staying(&self) -> impl Iterator<Item = (&String, &Till)> {
        self.tills.iter().filter(|(_, till)| !till.leaving)
    }
}

fn till_of(pod: &Pod) -> Till {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let spec = pod.spec.as_ref();
    let image = spec.and_then(|spec| spec.containers.first()?.image.clone());
    Till {
        node: spec
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        version: image
            .and_then(|image| Some(image.rsplit_once(':')?.1.to_owned()))
            .unwrap_or_default(),
        ready: is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        restarts: containers
            .and_then(|all| all.first())
            .map_or(0, |one| one.restart_count),
    }
}

fn is_till(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.get("app").is_some_and(|app| app == "till"))
}

/// An object that is there, or not any more.
fn each<K>(seen: Seen<K>) -> (bool, Vec<(K, bool)>) {
    match seen {
        Seen::Listed(all) => (true, all.into_iter().map(|one| (one, true)).collect()),
        Seen::Applied(one) => (false, vec![(one, true)]),
        Seen::Deleted(one) => (false, vec![(one, false)]),
    }
}

fn see_pods(sight: &mut Sight, seen: Seen<Pod>) {
    let (anew, pods) = each(seen);
    if anew {
        sight.tills.clear();
        sight.others_on.clear();
    }
    for (pod, there) in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        match (is_till(&pod), there) {
            (true, true) => _ = sight.tills.insert(name, till_of(&pod)),
            (true, false) => _ = sight.tills.remove(&name),
            (false, true) => _ = sight.others_on.insert(name, till_of(&pod).node),
            (false, false) => _ = sight.others_on.remove(&name),
        }
    }
}

fn see_deployments(sight: &mut Sight, seen: Seen<Deployment>) {
    let named =
        |(one, there): &(Deployment, bool)| *there && one.metadata.name.as_deref() == Some("till");
    let Some((till, _)) = each(seen).1.into_iter().find(named) else {
        return;
    };
    let wanted = till.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = till.status.unwrap_or_default();
    sight.wanted = wanted;
    sight.whole = status.observed_generation == till.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted;
}

fn see_nodes(sight: &mut Sight, seen: Seen<Node>) {
    let (anew, nodes) = each(seen);
    if anew {
        sight.nodes.clear();
    }
    for (node, there) in nodes {
        let conditions = node.status.and_then(|status| status.conditions);
        let ready = conditions.iter().flatten();
        let ready = ready
            .filter(|one| one.type_ == "Ready")
            .any(|one| one.status == "True");
        let name = node.metadata.name.unwrap_or_default();
        match there {
            true => _ = sight.nodes.insert(name, ready),
            false => _ = sight.nodes.remove(&name),
        }
    }
}

/// Follows all of it until `stop`, and writes into the chronicle what the cluster does by itself.
pub async fn look(
    api: Api,
    sight: watch::Sender<Sight>,
    chronicle: &Chronicle,
    stop: &CancellationToken,
) {
    let clock = Clock::system();
    let events = Events::start(api.clone(), clock.clone(), stop.clone());
    let unreadable = Unreadable::new(&events);
    let here = || Selection {
        namespace: stage::NAMESPACE.into(),
        field: None,
    };
    let mut pods = follow::<Pod>(&api, &clock, &unreadable, here(), stop);
    let mut deployments = follow::<Deployment>(&api, &clock, &unreadable, here(), stop);
    let mut told = follow::<Event>(&api, &clock, &unreadable, here(), stop);
    let mut nodes = follow::<Node>(&api, &clock, &unreadable, Selection::default(), stop);
    let followed = async {
        loop {
            let before = sight.borrow().clone();
            tokio::select! {
                Some(seen) = pods.recv() => sight.send_modify(|sight| see_pods(sight, seen)),
                Some(seen) = deployments.recv() => sight.send_modify(|sight| see_deployments(sight, seen)),
                Some(seen) = nodes.recv() => sight.send_modify(|sight| see_nodes(sight, seen)),
                Some(seen) = told.recv() => tell_of(seen, chronicle),
                else => return,
            }
            tell_changes(&before, &sight.borrow(), chronicle);
        }
    };
    let said = async {
        loop {
            tokio::time::sleep(VAULT_LOOK).await;
            listen(&api, &sight).await;
        }
    };
    tokio::select! {
        () = followed => {}
        () = said => {}
        () = stop.cancelled() => {}
    }
}

/// What the thief and the vault have written by now.
pub async fn listen(api: &Api, sight: &watch::Sender<Sight>) {
    let vaults: Vec<String> = sight.borrow().others_on.keys().cloned().collect();
    for pod in vaults {
        let said = match stage::last_line(api, &pod).await {
            Ok(Some(said)) => said,
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, pod, "what it says is not known");
                continue;
            }
        };
        if pod == "thief" {
            if let Ok(loot) = serde_json::from_value(said) {
                sight.send_modify(|sight| sight.thief = loot);
            }
        } else if let Ok(vault) = serde_json::from_value(said) {
            sight.send_modify(|sight| sight.hear(&pod, vault));
        }
    }
}

/// What the cluster warns of, but for tills that are not ready yet or not any more, which is seen anyhow.
fn tell_of(seen: Seen<Event>, chronicle: &Chronicle) {
    // what is listed first was before the day
    let Seen::Applied(event) = seen else { return };
    let reason = event.reason.unwrap_or_default();
    let seen_anyhow = ["Unhealthy", "NodeNotReady"].contains(&reason.as_str());
    if event.type_.as_deref() == Some("Warning") && !seen_anyhow {
        let about = event.involved_object.name.unwrap_or_default();
        let message = event.message.unwrap_or_default();
        chronicle.say("warning", &[&about, &reason, &message]);
    }
}

fn tell_changes(before: &Sight, after: &Sight, chronicle: &Chronicle) {
    chronicle.count(after.ready(), after.wanted);
    if before.wanted != after.wanted && before.wanted > 0 {
        let word = if after.wanted > before.wanted {
            "scaled-up"
        } else {
            "scaled-down"
        };
        let with: [&dyn std::fmt::Display; 2] = [&before.wanted, &after.wanted];
        chronicle.say(word, &with);
    }
    for (node, ready) in &after.nodes {
        match before.nodes.get(node) {
            Some(true) if !ready => chronicle.say("node-lost", &[node]),
            Some(false) if *ready => chronicle.say("node-back", &[node]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(name: &str, app: &str, ready: &str, leaving: bool) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": "n", "containers": [{"name": "till", "image": "skiff.local/shop:v2"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "till", "image": "", "imageID": "", "ready": true, "restartCount": 3}]}});
        if leaving {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        from_value(pod).unwrap()
    }

    #[test]
    fn tills_are_seen_and_forgotten() {
        let mut sight = Sight::default();
        let all = vec![
            pod("a", "till", "True", false),
            pod("b", "till", "False", false),
            pod("c", "till", "True", true),
            pod("thief", "thief", "True", false),
        ];
        see_pods(&mut sight, Seen::Listed(all));
        assert_eq!((sight.tills.len(), sight.ready()), (3, 1));
        assert_eq!(sight.others_on["thief"], "n");
        let till = &sight.tills["a"];
        assert_eq!((till.version.as_str(), till.restarts), ("v2", 3));
        see_pods(&mut sight, Seen::Applied(pod("b", "till", "True", false)));
        see_pods(&mut sight, Seen::Deleted(pod("c", "till", "True", true)));
        assert_eq!((sight.tills.len(), sight.ready()), (2, 2));
        see_pods(&mut sight, Seen::Listed(Vec::new()));
        assert!(sight.tills.is_empty() && sight.others_on.is_empty());
    }

    #[test]
    fn a_deployment_is_whole_when_nothing_old_is_left() {
        let deployment = |replicas: i32| {
            from_value(json!({"metadata": {"name": "till", "generation": 2}, "spec": {"replicas": 3, "selector": {}, "template": {}},
                "status": {"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 3, "replicas": replicas}})).unwrap()
        };
        let mut sight = Sight::default();
        see_deployments(&mut sight, Seen::Applied(deployment(4)));
        assert_eq!((sight.wanted, sight.whole), (3, false));
        see_deployments(&mut sight, Seen::Applied(deployment(3)));
        assert!(sight.whole);
    }

    #[test]
    fn a_vault_that_starts_anew_has_lost_nothing() {
        let mut sight = Sight::default();
        let vault = |deliveries, sales| Vault { deliveries, sales };
        for (pod, said, sum) in [
            ("a", (3, 30), (3, 30)),
            ("a", (4, 40), (4, 40)),
            // its process is another
            ("a", (1, 5), (5, 45)),
            ("a", (2, 9), (6, 49)),
            // its pod is another
            ("b", (1, 1), (7, 50)),
            ("a", (2, 9), (7, 50)),
        ] {
            sight.hear(pod, vault(said.0, said.1));
            assert_eq!(sight.vault, vault(sum.0, sum.1), "{pod} {said:?}");
        }
    }

    #[test]
    fn all_is_in_sight_before_the_day_begins() {
        let node = |name: &str| NodeOf {
            name: name.into(),
            ip: [10, 0, 0, 1].into(),
        };
        let nodes = [node("n"), node("m")];
        let mut sight = Sight::default();
        assert_eq!(sight.lacks(&nodes).len(), 4);
        let all = vec![
            pod("a", "till", "True", false),
            pod("thief", "thief", "True", false),
            pod("vault", "vault", "True", false),
        ];
        see_pods(&mut sight, Seen::Listed(all));
        sight.nodes = [("n".to_owned(), true), ("m".to_owned(), false)].into();
        sight.wanted = 2;
        sight.whole = true;
        assert_eq!(sight.lacks(&nodes), ["1 of 2 tills", "m is not ready"]);
        sight.nodes.insert("m".into(), true);
        see_pods(&mut sight, Seen::Applied(pod("b", "till", "True", false)));
        assert!(sight.lacks(&nodes).is_empty());
    }
}
