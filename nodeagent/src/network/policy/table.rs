//! The tables as they are in the kernel, and the changes that bring them to what a plan says.
//!
//! Invariant: a change names only what was touched and is different: a pod that comes or goes is a handful of elements. Chains are filled before anything
//! leads to them, and emptied after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    super::{
        family::IpFamily,
        messages::{hardware_address, link_local},
        nft::{self, Batch, Change, Name, Rule, Set, Value, Verdict},
    },
    members::Element,
    plan::{Plan, Touched},
    rules::{self, Chain, bridge_table, cables, table},
};

/// What the kernel holds once all changes given out were made.
#[derive(Debug)]
pub struct Table {
    /// Whether the kernel has tables of family `bridge`.
    bridge: bool,
    answered: Vec<IpAddr>,
    /// Those that there are tables of: that of IPv4 always, the other once a pod has such an address.
    families: BTreeSet<IpFamily>,
    places: BTreeMap<IpAddr, Place>,
    chains: BTreeSet<String>,
    sets: BTreeMap<String, BTreeSet<Element>>,
}

/// What there is at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    cable: Option<String>,
    /// The address that its interface has given itself beside one of IPv6.
    link_local: Option<IpAddr>,
    /// It has a verdict.
    known: bool,
    ingress: Option<String>,
    egress: Option<String>,
}

/// Changes in the order in which nftables must see them.
#[derive(Default)]
struct Script {
    add: Batch,
    delete_elements: Batch,
    add_elements: Batch,
    delete: Batch,
}

impl Script {
    fn finish(self) -> Batch {
        let mut batch = self.add;
        batch.append(self.delete_elements);
        batch.append(self.add_elements);
        batch.append(self.delete);
        batch
    }

    fn elements(&mut self, adds: bool, (to, name): (&nft::Table, &str), all: Vec<nft::Element>) {
        let name = Name::from(name);
        if adds {
            self.add_elements.push(to, Change::AddElements(name, all));
        } else {
            let change = Change::DeleteElements(name, all);
            self.delete_elements.push(to, change);
        }
    }

    fn add_chain(&mut self, family: IpFamily, chain: &Chain) {
        let mut add = |name: &str, rules: Vec<Rule>| {
            self.add.chain(&table(family), name, None, rules);
        };
        add(&chain.name, chain.rules(family));
        add(&replies(&chain.name), chain.replies(family));
    }

    fn delete_chain(&mut self, family: IpFamily, name: &str) {
        // The rules go before their chain, and both before the sets that they refer to.
        for name in [name.to_owned(), replies(name)] {
            let (name, table) = (Name::from(name), table(family));
            self.delete.push(&table, Change::FlushChain(name.clone()));
            self.delete.push(&table, Change::DeleteChain(name));
        }
    }
}

/// The families of which this node's pods, and what it answers at itself, have addresses.
fn families(plan: &Plan) -> BTreeSet<IpFamily> {
    let ips = plan.own().flat_map(|own| &own.ips);
    ips.map(|ip| IpFamily::of(*ip)).collect()
}

fn replies(chain: &str) -> String {
    format!("{chain}-replies")
}

fn element((ip, port): &Element) -> nft::Element {
    let port = port.map(Value::Port);
    nft::Element::of([Value::Ip(*ip)].into_iter().chain(port).collect())
}

impl Place {
    fn of(plan: &Plan, ip: IpAddr) -> Self {
        let Some((own, verdict)) = plan.at(ip) else {
            return Place::default();
        };
        Place {
            cable: own.link.clone(),
            link_local: ip
                .is_ipv6()
                .then(|| link_local(hardware_address(&own.ips)).into()),
            known: verdict.is_some(),
            ingress: verdict.and_then(|v| v.ingress.clone()),
            egress: verdict.and_then(|v| v.egress.clone()),
        }
    }

    /// The elements of this place, with where they are.
    fn elements(&self, ip: IpAddr, bridge: bool) -> BTreeSet<(nft::Table, String, nft::Element)> {
        let family = IpFamily::of(ip);
        let at = Value::Ip(ip);
        let mut found = BTreeSet::new();
        let mut add = |container: &str, element| {
            found.insert((table(family), container.to_owned(), element));
        };
        if self.known {
            add("pods", nft::Element::of(vec![at.clone()]));
            add("self", nft::Element::of(vec![at.clone(), at.clone()]));
        }
        for (map, chain) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            if let Some(chain) = chain {
                let jump = |chain: &str| {
                    nft::Element::verdict(vec![at.clone()], Verdict::Jump(chain.into()))
                };
                add(map, jump(chain));
                add(&format!("{map}-replies"), jump(&replies(chain)));
            }
        }
        if let Some(cable) = self.cable.as_ref().filter(|_| bridge) {
            for at in [ip].into_iter().chain(self.link_local) {
                let key = vec![Value::Link(cable.as_str().into()), Value::Ip(at)];
                let element = nft::Element::of(key);
                found.insert((bridge_table(), cables(family).into(), element));
            }
        }
        found
    }
}

impl Table {
    /// `answered` is where the node itself answers pods for the cluster.
    pub fn new(bridge: bool, answered: Vec<IpAddr>) -> Self {
        Table {
            bridge,
            answered,
            families: BTreeSet::from([IpFamily::V4]),
            places: BTreeMap::new(),
            chains: BTreeSet::new(),
            sets: BTreeMap::new(),
        }
    }

    /// From nothing, or from whatever is there, to exactly this plan.
    pub fn replace(&mut self, plan: &Plan) -> Batch {
        *self = Self::new(self.bridge, std::mem::take(&mut self.answered));
        self.families.extend(families(plan));
        let mut batch = Batch::new();
        for family in &self.families {
            batch.append(rules::base(*family, &self.answered));
        }
        if self.bridge {
            batch.append(rules::bridge_base(self.families()));
        }
        let all = Touched {
            addresses: plan.own().flat_map(|own| &own.ips).copied().collect(),
            chains: plan.chains().map(|(name, _)| name.clone()).collect(),
            sets: plan.sets().map(|(name, _)| name.clone()).collect(),
            elements: BTreeMap::new(),
        };
        batch.append(self.change(plan, all));
        batch
    }

    /// Those that there have to be tables of.
    pub fn needed(&self, plan: &Plan) -> BTreeSet<IpFamily> {
        self.families.union(&families(plan)).copied().collect()
    }

    /// Whether there are tables for all addresses that pods have; otherwise all is to be replaced.
    pub fn covers(&self, plan: &Plan) -> bool {
        families(plan).is_subset(&self.families)
    }

    pub fn families(&self) -> impl Iterator<Item = IpFamily> {
        self.families.iter().copied()
    }

    /// For what was touched. Empty if nothing is different.
    pub fn change(&mut self, plan: &Plan, touched: Touched) -> Batch {
        let mut script = Script::default();
        for name in &touched.sets {
            self.change_set(&mut script, plan, name);
        }
        for (name, elements) in &touched.elements {
            self.change_elements(&mut script, plan, name, elements);
        }
        for name in &touched.chains {
            let families = self.families.iter();
            match plan.chain(name) {
                Some(chain) if self.chains.insert(name.clone()) => {
                    families.for_each(|family| script.add_chain(*family, chain));
                }
                None if self.chains.remove(name) => {
                    families.for_each(|family| script.delete_chain(*family, name));
                }
                _ => {}
            }
        }
        for ip in touched.addresses {
            self.change_place(&mut script, plan, ip);
        }
        let gone: Vec<_> = self
            .sets
            .keys()
            .filter(|name| touched.sets.contains(*name) && plan.set(name).is_none())
            .cloned()
            .collect();
        for name in gone {
            for family in &self.families {
                let delete = Change::DeleteSet(name.as_str().into());
                script.delete.push(&table(*family), delete);
            }
            self.sets.remove(&name);
        }
        script.finish()
    }

    fn change_set(&mut self, script: &mut Script, plan: &Plan, name: &str) {
        let Some(key) = plan.set(name) else { return };
        if self.sets.contains_key(name) {
            let there = self.sets[name].iter();
            let all = there.chain(plan.elements(name)).copied().collect();
            return self.change_elements(script, plan, name, &all);
        }
        for family in &self.families {
            let set = Set::new(name, &key.kinds(*family));
            script.add.set(&table(*family), set);
        }
        self.sets.insert(name.to_owned(), BTreeSet::new());
        let all = plan.elements(name).copied().collect();
        self.change_elements(script, plan, name, &all);
    }

    fn change_elements(
        &mut self,
        script: &mut Script,
        plan: &Plan,
        name: &str,
        elements: &BTreeSet<Element>,
    ) {
        let Some(there) = self.sets.get_mut(name) else {
            return;
        };
        let (mut comes, mut goes) = (Vec::new(), Vec::new());
        // A peer may have addresses of a family that no pod of this node has: there is no table then that would need them.
        let known = |element: &&Element| self.families.contains(&IpFamily::of(element.0));
        for element in elements.iter().filter(known) {
            if plan.has_element(name, element) {
                if there.insert(*element) {
                    comes.push(element);
                }
            } else if there.remove(element) {
                goes.push(element);
            }
        }
        for family in &self.families {
            let ours = |all: &[&Element]| {
                let ours = all.iter().filter(|element| family.has(&element.0));
                ours.map(|element| self::element(element)).collect()
            };
            script.elements(true, (&table(*family), name), ours(&comes));
            script.elements(false, (&table(*family), name), ours(&goes));
        }
    }

    fn change_place(&mut self, script: &mut Script, plan: &Plan, ip: IpAddr) {
        let new = Place::of(plan, ip);
        let old = self.places.remove(&ip).unwrap_or_default();
        let (before, after) = (old.elements(ip, self.bridge), new.elements(ip, self.bridge));
        for (table, container, element) in before.difference(&after) {
            let key = nft::Element::of(element.key.clone());
            script.elements(false, (table, container), vec![key]);
        }
        for (table, container, element) in after.difference(&before) {
            script.elements(true, (table, container), vec![element.clone()]);
        }
        if new != Place::default() {
            self.places.insert(ip, new);
        }
    }
}
