//! Who may reach which pod of this node, and whom those may reach, at which ports: from policies, pods and namespaces to chains and sets.
//!
//! Invariant: pure, and a change costs what it changes: a pod's touches its own verdict and its own elements. A pod has a verdict only when all that may
//! hold for it is known; without one it is closed. What chains and sets are named follows from what they hold, so that pods with equal walls share them,
//! and each selector of peers is one set, however many policies have it. Follows the documented meaning of `networking.k8s.io/v1`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    super::view::ObjectName,
    members::{Element, Members, elements},
    read::Policy,
    rules::{Chain, SetKey},
    verdict::sides,
    view::{Labels, Pod, Seen, Told},
};

/// How long a chain stays after its last use: kernels before 6.2 notice late that nothing refers to it.
const CHAIN_REST: Duration = Duration::from_secs(1);

/// A pod of this node. `None` each: it is not isolated that way; otherwise the chain that lets through what is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub ingress: Option<String>,
    pub egress: Option<String>,
}

/// Where a pod of this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// One of each family that it has, at most.
    pub ips: Vec<IpAddr>,
    /// The node's end of its cable; what this node answers at itself has none.
    pub link: Option<String>,
}

/// A chain with whom it serves.
struct Used {
    chain: Chain,
    users: usize,
    /// Since when nobody.
    rested: Option<Instant>,
}

/// What may differ from what the kernel was last told.
#[derive(Debug, Default)]
pub struct Touched {
    pub addresses: BTreeSet<IpAddr>,
    pub chains: BTreeSet<String>,
    pub sets: BTreeSet<String>,
    pub elements: BTreeMap<String, BTreeSet<Element>>,
}

/// See the module.
#[derive(Default)]
pub struct Plan {
    /// `None` before they were listed.
    policies: Option<BTreeMap<ObjectName, Policy>>,
    pods: HashMap<String, Pod>,
    namespaces: HashMap<String, Labels>,
    pods_listed: bool,
    namespaces_listed: bool,
    /// Whoever is not known by now is taken for one that nothing is known of.
    impatient: bool,
    /// What this node itself answers for: pods that no API server tells of.
    fixed: Vec<(String, Pod)>,
    own: BTreeMap<String, Own>,
    verdicts: HashMap<String, Verdict>,
    chains: BTreeMap<String, Used>,
    sets: BTreeMap<String, Members>,
    touched: Touched,
}

impl Plan {
    /// Takes in what was seen.
    pub fn take(&mut self, told: Told, now: Instant) {
        match told {
            Told::Policies(seen) => self.take_policies(seen, now),
            Told::Pods(seen) => self.take_pods(seen, now),
            Told::Namespaces(seen) => self.take_namespaces(seen, now),
        }
    }

    /// A pod that runs here from now on.
    pub fn add_own(&mut self, uid: &str, own: Own, now: Instant) {
        self.touched.addresses.extend(&own.ips);
        if let Some(old) = self.own.insert(uid.to_owned(), own) {
            self.touched.addresses.extend(old.ips);
        }
        self.place(uid);
        self.judge(uid, now);
    }

    /// What this node answers at itself, as if it was a pod.
    pub fn add_fixed(&mut self, uid: &str, own: Own, pod: Pod, now: Instant) {
        self.fixed.push((uid.to_owned(), pod.clone()));
        self.pods.insert(uid.to_owned(), pod);
        self.add_own(uid, own, now);
    }

    pub fn remove_own(&mut self, uid: &str, now: Instant) {
        if let Some(own) = self.own.remove(uid) {
            self.touched.addresses.extend(own.ips);
            self.decide(uid, None, now);
            self.place(uid);
        }
    }

    /// Whether policies were listed, and if there are any, those whom they may name.
    pub fn is_ready(&self) -> bool {
        let listed = self.pods_listed && self.namespaces_listed;
        self.policies
            .as_ref()
            .is_some_and(|policies| policies.is_empty() || listed || self.impatient)
    }

    /// Whether there is any policy.
    pub fn has_policies(&self) -> bool {
        self.policies.as_ref().is_some_and(|p| !p.is_empty())
    }

    /// Waits no longer for pods and namespaces: policies hold from now on, and whoever is not known is closed.
    pub fn lose_patience(&mut self, now: Instant) {
        if !self.is_ready() {
            self.impatient = true;
            self.judge_all(now);
        }
    }

    pub fn is_own(&self, uid: &str) -> bool {
        self.own.contains_key(uid)
    }

    pub fn addresses(&self, uid: &str) -> &[IpAddr] {
        self.own.get(uid).map_or(&[], |own| &own.ips)
    }

    pub fn verdict(&self, uid: &str) -> Option<&Verdict> {
        self.verdicts.get(uid)
    }

    /// What is to be at an address of this node: the cable, if a pod has it, and the pod's verdict.
    pub fn at(&self, ip: IpAddr) -> Option<(&Own, Option<&Verdict>)> {
        let (uid, own) = self.own.iter().find(|(_, own)| own.ips.contains(&ip))?;
        Some((own, self.verdicts.get(uid)))
    }

    pub fn own(&self) -> impl Iterator<Item = &Own> {
        self.own.values()
    }

    pub fn chains(&self) -> impl Iterator<Item = (&String, &Chain)> {
        self.chains.iter().map(|(name, used)| (name, &used.chain))
    }

    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.get(name).map(|used| &used.chain)
    }

    pub fn sets(&self) -> impl Iterator<Item = (&String, &SetKey)> {
        self.sets.iter().map(|(name, members)| (name, &members.key))
    }

    pub fn set(&self, name: &str) -> Option<&SetKey> {
        self.sets.get(name).map(|members| &members.key)
    }

    pub fn elements(&self, set: &str) -> impl Iterator<Item = &Element> {
        self.sets
            .get(set)
            .into_iter()
            .flat_map(|members| members.counts.keys())
    }

    pub fn has_element(&self, set: &str, element: &Element) -> bool {
        self.sets
            .get(set)
            .is_some_and(|members| members.counts.contains_key(element))
    }

    /// What was touched since this was last asked.
    pub fn touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Lets go of chains that have rested, and of sets that only they used. Gives the time of the next that will have.
    pub fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let due = |used: &Used| used.rested.map(|since| since + CHAIN_REST);
        let over: Vec<_> = self
            .chains
            .iter()
            .filter(|(_, used)| due(used).is_some_and(|due| due <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            let Some(used) = self.chains.remove(&name) else {
                continue;
            };
            self.touched.chains.insert(name);
            for key in &used.chain.sets {
                self.release(&key.name());
            }
        }
        self.chains.values().filter_map(due).min()
    }

    fn take_policies(&mut self, seen: Seen<ObjectName, Policy>, now: Instant) {
        let had = self.has_policies();
        let concerned = match seen {
            Seen::Listed(all) => {
                self.policies = Some(all.into_iter().collect());
                return self.judge_all(now);
            }
            Seen::Applied(name, policy) => {
                let namespace = name.namespace.clone();
                let policies = self.policies.get_or_insert_default();
                if policies.get(&name) == Some(&policy) {
                    return;
                }
                policies.insert(name, policy);
                namespace
            }
            Seen::Gone(name) => {
                let policies = self.policies.get_or_insert_default();
                policies.remove(&name);
                name.namespace
            }
        };
        if had != self.has_policies() {
            return self.judge_all(now);
        }
        let pods: Vec<_> = self
            .own
            .keys()
            .filter(|uid| {
                self.pods
                    .get(*uid)
                    .is_some_and(|pod| pod.namespace == concerned)
            })
            .cloned()
            .collect();
        pods.iter().for_each(|uid| self.judge(uid, now));
    }

    fn take_pods(&mut self, seen: Seen<String, Pod>, now: Instant) {
        match seen {
            Seen::Listed(all) => {
                let listed: HashSet<_> = all.iter().map(|(uid, _)| uid.as_str()).collect();
                let fixed = |uid: &str| self.fixed.iter().any(|(fixed, _)| fixed == uid);
                let known = self.pods.keys();
                let gone: Vec<_> = known
                    .filter(|uid| !listed.contains(uid.as_str()) && !fixed(uid))
                    .cloned()
                    .collect();
                gone.iter().for_each(|uid| self.put_pod(uid, None, now));
                let first = !std::mem::replace(&mut self.pods_listed, true);
                for (uid, pod) in all {
                    self.put_pod(&uid, Some(pod), now);
                }
                if first {
                    self.judge_all(now);
                }
            }
            Seen::Applied(uid, pod) => self.put_pod(&uid, Some(pod), now),
            Seen::Gone(uid) => self.put_pod(&uid, None, now),
        }
    }

    fn put_pod(&mut self, uid: &str, pod: Option<Pod>, now: Instant) {
        if self.pods.get(uid) == pod.as_ref() {
            return;
        }
        match pod {
            Some(pod) => drop(self.pods.insert(uid.to_owned(), pod)),
            None => drop(self.pods.remove(uid)),
        }
        self.place(uid);
        if self.own.contains_key(uid) {
            self.judge(uid, now);
        }
    }

    fn take_namespaces(&mut self, seen: Seen<String, Labels>, now: Instant) {
        match seen {
            Seen::Listed(all) => {
                let all: HashMap<_, _> = all.into_iter().collect();
                let known = self.namespaces.keys();
                let gone: Vec<_> = known
                    .filter(|name| !all.contains_key(*name))
                    .cloned()
                    .collect();
                gone.into_iter()
                    .for_each(|name| self.put_namespace(name, None));
                all.into_iter()
                    .for_each(|(name, labels)| self.put_namespace(name, Some(labels)));
                if !std::mem::replace(&mut self.namespaces_listed, true) {
                    self.judge_all(now);
                }
            }
            Seen::Applied(name, labels) => self.put_namespace(name, Some(labels)),
            Seen::Gone(name) => self.put_namespace(name, None),
        }
    }

    /// A namespace's labels say whose peers its pods are.
    fn put_namespace(&mut self, name: String, labels: Option<Labels>) {
        if self.namespaces.get(&name) == labels.as_ref() {
            return;
        }
        let inside = |pod: &Pod| pod.namespace == name;
        let pods: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, pod)| inside(pod))
            .map(|(uid, _)| uid.clone())
            .collect();
        match labels {
            Some(labels) => drop(self.namespaces.insert(name, labels)),
            None => drop(self.namespaces.remove(&name)),
        }
        pods.iter().for_each(|uid| self.place(uid));
    }

    /// Brings a pod's elements up to date in all sets.
    fn place(&mut self, uid: &str) {
        let pod = self.pods.get(uid);
        let own = self.own.get(uid).map_or(&[][..], |own| &own.ips);
        for (name, members) in &mut self.sets {
            let new = pod
                .map(|pod| elements(&members.key, pod, own, &self.namespaces))
                .unwrap_or_default();
            let touched = members.place(uid, new);
            if !touched.is_empty() {
                self.touched
                    .elements
                    .entry(name.clone())
                    .or_default()
                    .extend(touched);
            }
        }
    }

    fn judge_all(&mut self, now: Instant) {
        let all: Vec<_> = self.own.keys().cloned().collect();
        all.iter().for_each(|uid| self.judge(uid, now));
    }

    fn judge(&mut self, uid: &str, now: Instant) {
        if !self.is_ready() {
            // What was decided holds until it is known what comes next.
            return;
        }
        let decided = match &self.policies {
            Some(policies) if policies.is_empty() => Some((None, None)),
            Some(policies) => self.pods.get(uid).map(|pod| sides(policies, pod)),
            None => None,
        };
        self.decide(uid, decided, now);
    }

    fn decide(&mut self, uid: &str, decided: Option<(Option<Chain>, Option<Chain>)>, now: Instant) {
        let verdict = decided.map(|(ingress, egress)| {
            let mut use_chain = |chain: Chain| {
                let name = chain.name.clone();
                self.use_chain(chain);
                name
            };
            Verdict {
                ingress: ingress.map(&mut use_chain),
                egress: egress.map(&mut use_chain),
            }
        });
        let old = self.verdicts.remove(uid);
        if old != verdict
            && let Some(own) = self.own.get(uid)
        {
            self.touched.addresses.extend(&own.ips);
        }
        if let Some(verdict) = verdict {
            self.verdicts.insert(uid.to_owned(), verdict);
        }
        let Verdict { ingress, egress } = old.unwrap_or_default();
        for name in ingress.into_iter().chain(egress) {
            if let Some(used) = self.chains.get_mut(&name) {
                used.users -= 1;
                used.rested = (used.users == 0).then_some(now);
            }
        }
    }

    fn use_chain(&mut self, chain: Chain) {
        if let Some(used) = self.chains.get_mut(&chain.name) {
            used.users += 1;
            used.rested = None;
            return;
        }
        self.touched.chains.insert(chain.name.clone());
        for key in &chain.sets {
            self.use_set(key);
        }
        let name = chain.name.clone();
        let used = Used {
            chain,
            users: 1,
            rested: None,
        };
        self.chains.insert(name, used);
    }

    fn use_set(&mut self, key: &SetKey) {
        let name = key.name();
        if let Some(members) = self.sets.get_mut(&name) {
            members.users += 1;
            return;
        }
        let mut members = Members {
            key: key.clone(),
            users: 1,
            by_pod: HashMap::new(),
            counts: BTreeMap::new(),
        };
        for (uid, pod) in &self.pods {
            let own = self.own.get(uid).map_or(&[][..], |own| &own.ips);
            members.place(uid, elements(key, pod, own, &self.namespaces));
        }
        self.touched.sets.insert(name.clone());
        self.sets.insert(name, members);
    }

    fn release(&mut self, name: &str) {
        if let Some(members) = self.sets.get_mut(name) {
            members.users -= 1;
            if members.users == 0 {
                self.sets.remove(name);
                self.touched.elements.remove(name);
                self.touched.sets.insert(name.to_owned());
            }
        }
    }
}
