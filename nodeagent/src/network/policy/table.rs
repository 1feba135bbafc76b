//! The tables as they are in the kernel, and the scripts that bring them to what a plan says.
//!
//! Invariant: a script names only what was touched and is different: a pod that comes or goes is a handful of elements. Chains are filled before anything
//! leads to them, and emptied after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use super::{
    super::nft::line,
    members::Element,
    plan::{Plan, Touched},
    rules::{self, Chain, TABLE},
};

/// What the kernel holds once all scripts given out were applied.
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

/// Parts of a script in the order in which nftables must see them.
#[derive(Default)]
struct Script {
    add: String,
    delete_elements: String,
    add_elements: String,
    delete: String,
}

impl Script {
    fn finish(self) -> String {
        [
            self.add,
            self.delete_elements,
            self.add_elements,
            self.delete,
        ]
        .concat()
    }

    fn element(&mut self, adds: bool, container: &str, element: &str) {
        if adds {
            line!(self.add_elements, "add element {container} {{ {element} }}");
        } else {
            line!(
                self.delete_elements,
                "delete element {container} {{ {element} }}"
            );
        }
    }

    fn add_chain(&mut self, chain: &Chain) {
        for (name, rules) in [
            (chain.name.clone(), &chain.rules),
            (replies(&chain.name), &chain.replies),
        ] {
            line!(self.add, "add chain ip {TABLE} {name}");
            for rule in rules {
                line!(self.add, "add rule ip {TABLE} {name} {rule}");
            }
        }
    }

    fn delete_chain(&mut self, name: &str) {
        // All are emptied before any is deleted, and both before the sets that they refer to.
        for name in [name.to_owned(), replies(name)] {
            line!(
                self.delete,
                "flush chain ip {TABLE} {name}\ndelete chain ip {TABLE} {name}"
            );
        }
    }
}

fn replies(chain: &str) -> String {
    format!("{chain}-replies")
}

fn text((ip, port): &Element) -> String {
    match port {
        Some(port) => format!("{ip} . {port}"),
        None => ip.to_string(),
    }
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

    /// The elements of this place: (container, element).
    fn elements(&self, ip: Ipv4Addr, bridge: bool) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let mut add = |container: &str, element| {
            found.insert((format!("ip {TABLE} {container}"), element));
        };
        if self.known {
            add("pods", ip.to_string());
            add("self", format!("{ip} . {ip}"));
        }
        for (map, chain) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            if let Some(chain) = chain {
                add(map, format!("{ip} : jump {chain}"));
                let back = replies(chain);
                add(&format!("{map}-replies"), format!("{ip} : jump {back}"));
            }
        }
        if let Some(cable) = self.cable.as_ref().filter(|_| bridge) {
            let element = format!("\"{cable}\" . {ip}");
            found.insert((format!("bridge {TABLE} cables"), element));
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

    /// The script from nothing, or from whatever is there, to exactly this plan.
    pub fn replace(&mut self, plan: &Plan) -> String {
        *self = Self::new(self.bridge, std::mem::take(&mut self.answered));
        let mut script = String::new();
        line!(script, "add table ip {TABLE}\ndelete table ip {TABLE}");
        script.push_str(&rules::base(&self.answered));
        if self.bridge {
            line!(
                script,
                "add table bridge {TABLE}\ndelete table bridge {TABLE}"
            );
            script.push_str(&rules::bridge_base());
        }
        let all = Touched {
            addresses: plan.own().map(|own| own.ip).collect(),
            chains: plan.chains().map(|(name, _)| name.clone()).collect(),
            sets: plan.sets().map(|(name, _)| name.clone()).collect(),
            elements: BTreeMap::new(),
        };
        script.push_str(&self.change(plan, all));
        script
    }

    /// The script for what was touched. Empty if nothing is different.
    pub fn change(&mut self, plan: &Plan, touched: Touched) -> String {
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
            line!(script.delete, "delete set ip {TABLE} {name}");
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
        line!(
            script.add,
            "add set ip {TABLE} {name} {{ type {}; }}",
            key.kind()
        );
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
                    comes.push(text(element));
                }
            } else if there.remove(element) {
                goes.push(text(element));
            }
        }
        for (adds, list) in [(true, comes), (false, goes)] {
            if !list.is_empty() {
                script.element(adds, &format!("ip {TABLE} {name}"), &list.join(", "));
            }
        }
    }

    fn change_place(&mut self, script: &mut Script, plan: &Plan, ip: Ipv4Addr) {
        let new = Place::of(plan, ip);
        let old = self.places.remove(&ip).unwrap_or_default();
        let (before, after) = (old.elements(ip, self.bridge), new.elements(ip, self.bridge));
        for (container, element) in before.difference(&after) {
            let key = element.split(" : ").next().unwrap_or(element);
            script.element(false, container, key);
        }
        for (container, element) in after.difference(&before) {
            script.element(true, container, element);
        }
        if new != Place::default() {
            self.places.insert(ip, new);
        }
    }
}
