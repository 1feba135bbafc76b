//! The nftables table as it is in the kernel, service by service, and the scripts that bring it from one state to the next.
//!
//! Invariant: a change of one service touches its own chains and elements only. An element that two services claim (the same external IP and port, one
//! pod behind two services) is the first one's and passes on when that lets go. A chain is emptied when it is no longer used but deleted a little later:
//! kernels before 6.2 notice late that nothing refers to it. Follows `pkg/proxy/nftables/{proxier,helpers}.go` upstream.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{
    super::{nft::line, view::ObjectName},
    rules::{Fragment, NodeRules, Shared, TABLE, base},
};

/// How long a chain stays after its last use.
const CHAIN_REST: Duration = Duration::from_secs(1);

/// What the kernel holds once all scripts given out were applied.
#[derive(Debug, Default)]
pub struct Table {
    fragments: BTreeMap<ObjectName, Fragment>,
    claims: HashMap<(Shared, String), Vec<(ObjectName, String)>>,
    stale_chains: BTreeMap<String, Instant>,
}

/// Parts of a script in the order in which nftables must see them.
#[derive(Default)]
struct Script {
    add_chains: String,
    add_sets: String,
    flush_and_rules: String,
    delete_elements: String,
    add_elements: String,
    delete_sets: String,
}

impl Script {
    fn finish(self) -> String {
        [
            self.add_chains,
            self.add_sets,
            self.delete_elements,
            self.flush_and_rules,
            self.add_elements,
            self.delete_sets,
        ]
        .concat()
    }

    fn add_element(&mut self, (container, key): &(Shared, String), value: &str) {
        let separator = if value.is_empty() { "" } else { " : " };
        line!(
            self.add_elements,
            "add element ip {TABLE} {} {{ {key}{separator}{value} }}",
            container.name()
        );
    }

    fn delete_element(&mut self, (container, key): &(Shared, String)) {
        line!(
            self.delete_elements,
            "delete element ip {TABLE} {} {{ {key} }}",
            container.name()
        );
    }

    fn chain(&mut self, name: &str, old: Option<&Vec<String>>, new: &[String]) {
        match old {
            Some(_) => line!(self.flush_and_rules, "flush chain ip {TABLE} {name}"),
            None => line!(self.add_chains, "add chain ip {TABLE} {name}"),
        }
        for rule in new {
            line!(self.flush_and_rules, "add rule ip {TABLE} {name} {rule}");
        }
    }
}

impl Table {
    /// The script from nothing, or from whatever is there, to exactly these services.
    pub fn replace(
        &mut self,
        node: &NodeRules,
        fragments: BTreeMap<ObjectName, Fragment>,
    ) -> String {
        *self = Table::default();
        let mut script = format!(
            "add table ip {TABLE}\ndelete table ip {TABLE}\n{}",
            base(node)
        );
        // One script of changes for all: chains of one service may come before those of another, but never before the maps.
        script.push_str(
            &self.change(
                fragments
                    .into_iter()
                    .map(|(name, fragment)| (name, Some(fragment))),
                Instant::now(),
            ),
        );
        script
    }

    /// The script for some services' new fragments (`None`: the service is gone). Empty if nothing changes.
    pub fn change(
        &mut self,
        changes: impl IntoIterator<Item = (ObjectName, Option<Fragment>)>,
        now: Instant,
    ) -> String {
        let mut script = Script::default();
        for (name, new) in changes {
            let old = self.fragments.remove(&name).unwrap_or_default();
            let new = new.unwrap_or_default();
            if old != new {
                self.change_one(&mut script, &name, &old, &new, now);
            }
            if new != Fragment::default() {
                self.fragments.insert(name, new);
            }
        }
        script.finish()
    }

    fn change_one(
        &mut self,
        script: &mut Script,
        name: &ObjectName,
        old: &Fragment,
        new: &Fragment,
        now: Instant,
    ) {
        for (chain, rules) in &new.chains {
            let before = old.chains.get(chain);
            if before != Some(rules) {
                // One that was emptied a moment ago is still there; adding it again does no harm.
                self.stale_chains.remove(chain);
                script.chain(chain, before, rules);
            }
        }
        for chain in old.chains.keys().filter(|c| !new.chains.contains_key(*c)) {
            line!(script.flush_and_rules, "flush chain ip {TABLE} {chain}");
            self.stale_chains.insert(chain.clone(), now);
        }
        for (set, seconds) in &new.affinity {
            match old.affinity.get(set) {
                Some(before) if before == seconds => continue,
                // The timeout of a set cannot change: it is another set then, and its rules must be too.
                Some(_) => self.renew_set(script, set, old, new),
                None => {}
            }
            line!(
                script.add_sets,
                "add set ip {TABLE} {set} {{ type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}"
            );
        }
        for set in old
            .affinity
            .keys()
            .filter(|s| !new.affinity.contains_key(*s))
        {
            line!(script.delete_sets, "delete set ip {TABLE} {set}");
        }
        for (key, _) in old
            .elements
            .iter()
            .filter(|(k, v)| new.elements.get(*k) != Some(v))
        {
            self.unclaim(script, name, key);
        }
        for (key, value) in new
            .elements
            .iter()
            .filter(|(k, v)| old.elements.get(*k) != Some(v))
        {
            self.claim(script, name, key, value);
        }
    }

    fn renew_set(&self, script: &mut Script, set: &str, old: &Fragment, new: &Fragment) {
        let mention = format!("@{set} ");
        for (chain, rules) in old
            .chains
            .iter()
            .filter(|(_, rules)| rules.iter().any(|r| r.contains(&mention)))
        {
            line!(script.add_sets, "flush chain ip {TABLE} {chain}");
            if new.chains.get(chain) == Some(rules) {
                script.chain(chain, Some(rules), rules);
            }
        }
        line!(script.add_sets, "delete set ip {TABLE} {set}");
    }

    fn claim(
        &mut self,
        script: &mut Script,
        name: &ObjectName,
        key: &(Shared, String),
        value: &str,
    ) {
        let claims = self.claims.entry(key.clone()).or_default();
        if claims.is_empty() {
            script.add_element(key, value);
        } else if !value.is_empty() {
            tracing::warn!(
                "{name} wants {} {}, which is {}'s",
                key.0.name(),
                key.1,
                claims[0].0
            );
        }
        claims.push((name.clone(), value.to_owned()));
    }

    fn unclaim(&mut self, script: &mut Script, name: &ObjectName, key: &(Shared, String)) {
        let Some(claims) = self.claims.get_mut(key) else {
            return;
        };
        let Some(at) = claims.iter().position(|(n, _)| n == name) else {
            return;
        };
        claims.remove(at);
        match claims.first() {
            _ if at > 0 => {}
            None => {
                script.delete_element(key);
                self.claims.remove(key);
            }
            Some((_, value)) if value.is_empty() => {}
            Some((_, value)) => {
                script.delete_element(key);
                script.add_element(key, &value.clone());
            }
        }
    }

    /// The script that deletes the chains that have rested long enough.
    pub fn sweep(&mut self, now: Instant) -> String {
        let due: BTreeSet<_> = self
            .stale_chains
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= CHAIN_REST)
            .map(|(c, _)| c.clone())
            .collect();
        self.stale_chains.retain(|chain, _| !due.contains(chain));
        due.iter()
            .map(|chain| format!("delete chain ip {TABLE} {chain}\n"))
            .collect()
    }

    /// When the next sweep is due.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.stale_chains
            .values()
            .min()
            .map(|since| *since + CHAIN_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rules::{
            render,
            tests::{node, plan},
        },
        *,
    };

    fn name(name: &str) -> ObjectName {
        ObjectName::new("ns", name)
    }

    /// First words of each line, without the table's name and the names of chains.
    fn show(script: &str) -> Vec<String> {
        let words = |line: &str| {
            line.split(' ')
                .filter(|w| !["ip", TABLE].contains(w))
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
        };
        script
            .lines()
            .map(|l| words(l).split('-').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn a_change_touches_its_own() {
        let now = Instant::now();
        let mut table = Table::default();
        let fragment = |endpoints: &[u8]| Some(render(&[plan("a", 1, endpoints)], &node()));
        let added = table.change([(name("a"), fragment(&[2, 102]))], now);
        assert_eq!(
            show(&added),
            [
                "add chain svc",
                "add rule svc",
                "add element service",
                "add element cluster",
                "add element hairpin"
            ]
        );
        assert_eq!(
            table.change([(name("a"), fragment(&[2, 102]))], now),
            "",
            "the same again"
        );
        assert_eq!(
            show(&table.change([(name("a"), fragment(&[2, 103]))], now)),
            ["flush chain svc", "add rule svc"]
        );
        let emptied = table.change([(name("a"), fragment(&[]))], now);
        assert_eq!(
            show(&emptied),
            [
                "delete element service",
                "delete element hairpin",
                "flush chain svc",
                "add element no"
            ]
        );
        assert_eq!(table.sweep(now), "", "not yet");
        let back = table.change([(name("a"), fragment(&[2]))], now);
        assert_eq!(show(&back)[..2], ["add chain svc", "delete element no"]);
        assert_eq!(table.sweep(now + CHAIN_REST), "", "it came back in time");
        table.change([(name("a"), None)], now);
        assert_eq!(show(&table.sweep(now + CHAIN_REST)), ["delete chain svc"]);
        assert!(
            table.fragments.is_empty() && table.claims.is_empty() && table.next_sweep().is_none()
        );
    }

    #[test]
    fn claims_pass_on() {
        let now = Instant::now();
        let mut table = Table::default();
        let external = |service: &str, last| {
            let mut plan = plan(service, last, &[2]);
            plan.node_port = Some(30000);
            Some(render(&[plan], &node()))
        };
        let only = |script: String, word: &str| {
            script
                .lines()
                .filter(|l| l.contains(word))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        table.change([(name("a"), external("a", 1))], now);
        let second = table.change([(name("b"), external("b", 2))], now);
        assert!(only(second, "nodeports").is_empty());
        let passed = table.change([(name("a"), None)], now);
        let lines = only(passed.clone(), "nodeports");
        assert!(
            lines.len() == 2 && lines[0].starts_with("delete") && lines[1].contains("ns/b"),
            "{lines:?}"
        );
        assert!(
            only(passed, "hairpin").is_empty(),
            "the pod is still behind b"
        );
        assert_eq!(
            only(table.change([(name("b"), None)], now), "hairpin").len(),
            1
        );
    }

    #[test]
    fn affinity_of_another_length_is_another_set() {
        let now = Instant::now();
        let mut table = Table::default();
        let fragment = |seconds| {
            let mut plan = plan("a", 1, &[2]);
            plan.affinity = seconds;
            Some(render(&[plan], &node()))
        };
        table.change([(name("a"), fragment(Some(10)))], now);
        let script = table.change([(name("a"), fragment(Some(20)))], now);
        let at = |start: &str| {
            script
                .lines()
                .position(|l| l.starts_with(start))
                .unwrap_or_else(|| panic!("{start} in {script}"))
        };
        assert!(
            at("delete set") < at("add set") && at("add set") < at("add rule"),
            "{script}"
        );
        let without = table.change([(name("a"), fragment(None))], now);
        assert!(
            without
                .trim_end()
                .lines()
                .last()
                .unwrap()
                .starts_with("delete set"),
            "{without}"
        );
    }
}
