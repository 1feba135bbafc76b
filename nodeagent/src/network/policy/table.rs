//! The tables as they are in the kernel, and the changes that bring them to what a plan says.
//!
//! Invariant: a change names only what was touched and is different: a pod that comes or goes is a handful of elements. Chains are filled before anything
//! leads to them, and emptied after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use super::{
    super::nft::{self, Batch, Change, Name, Rule, Set, Value, Verdict},
    members::Element,
    plan::{Plan, Touched},
    rules::{self, Chain, bridge_table, table},
};

/// What the kernel holds once all changes given out were made.
#[derive(Debug)]
pub struct Table {
    /// Whether the kernel has tables of family `bridge`.
    bridge: bool,
    answered: Vec<Ipv4Addr>,
    places: BTreeMap<Ipv4Addr, Place>,
    chains: BTreeSet<String>,
    sets: BTreeMap<String, BTreeSet<Element>>,
}

/// What there is at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    cable: Option<String>,
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

    fn add_chain(&mut self, chain: &Chain) {
        let mut add = |name: &str, rules: &[Rule]| {
            self.add.chain(&table(), name, None, rules.to_vec());
        };
        add(&chain.name, &chain.rules);
        add(&replies(&chain.name), &chain.replies);
    }

    fn delete_chain(&mut self, name: &str) {
        // The rules go before their chain, and both before the sets that they refer to.
        for name in [name.to_owned(), replies(name)] {
            let (name, table) = (Name::from(name), table());
            self.delete.push(&table, Change::FlushChain(name.clone()));
            self.delete.push(&table, Change::DeleteChain(name));
        }
    }
}

fn replies(chain: &str) -> String {
    format!("{chain}-replies")
}

fn element((ip, port): &Element) -> nft::Element {
    let port = port.map(Value::Port);
    nft::Element::of([Value::Ip(*ip)].into_iter().chain(port).collect())
}

impl Place {
    fn of(plan: &Plan, ip: Ipv4Addr) -> Self {
        let Some((own, verdict)) = plan.at(ip) else {
            return Place::default();
        };
        Place {
            cable: own.link.clone(),
            known: verdict.is_some(),
            ingress: verdict.and_then(|v| v.ingress.clone()),
            egress: verdict.and_then(|v| v.egress.clone()),
        }
    }

    /// The elements of this place, with where they are.
    fn elements(&self, ip: Ipv4Addr, bridge: bool) -> BTreeSet<(nft::Table, String, nft::Element)> {
        let at = Value::Ip(ip);
        let mut found = BTreeSet::new();
        let mut add = |container: &str, element| {
            found.insert((table(), container.to_owned(), element));
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
            let key = vec![Value::Link(cable.as_str().into()), at];
            let element = nft::Element::of(key);
            found.insert((bridge_table(), "cables".into(), element));
        }
        found
    }
}

impl Table {
    /// `answered` is where the node itself answers pods for the cluster.
    pub fn new(bridge: bool, answered: Vec<Ipv4Addr>) -> Self {
        Table {
            bridge,
            answered,
            places: BTreeMap::new(),
            chains: BTreeSet::new(),
            sets: BTreeMap::new(),
        }
    }

    /// From nothing, or from whatever is there, to exactly this plan.
    pub fn replace(&mut self, plan: &Plan) -> Batch {
        *self = Self::new(self.bridge, std::mem::take(&mut self.answered));
        let mut batch = rules::base(&self.answered);
        if self.bridge {
            batch.append(rules::bridge_base());
        }
        let all = Touched {
            addresses: plan.own().map(|own| own.ip).collect(),
            chains: plan.chains().map(|(name, _)| name.clone()).collect(),
            sets: plan.sets().map(|(name, _)| name.clone()).collect(),
            elements: BTreeMap::new(),
        };
        batch.append(self.change(plan, all));
        batch
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
            match plan.chain(name) {
                Some(chain) if self.chains.insert(name.clone()) => script.add_chain(chain),
                None if self.chains.remove(name) => script.delete_chain(name),
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
            let delete = Change::DeleteSet(name.as_str().into());
            script.delete.push(&table(), delete);
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
        script.add.set(&table(), Set::new(name, key.kinds()));
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
        for element in elements {
            if plan.has_element(name, element) {
                if there.insert(*element) {
                    comes.push(self::element(element));
                }
            } else if there.remove(element) {
                goes.push(self::element(element));
            }
        }
        script.elements(true, (&table(), name), comes);
        script.elements(false, (&table(), name), goes);
    }

    fn change_place(&mut self, script: &mut Script, plan: &Plan, ip: Ipv4Addr) {
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
