//! The nftables table as it is in the kernel, service by service, and the changes that bring it from one state to the next.
//!
//! Invariant: a change of one service touches its own chains and elements only. An element that two services claim (the same external IP and port, one
//! pod behind two services) is the first one's and passes on when that lets go. A chain is emptied when it is no longer used but deleted a little later:
//! kernels before 6.2 notice late that nothing refers to it. So are the numbers of endpoints that are fewer now: a packet that is on its way may have
//! chosen one. Follows `pkg/proxy/nftables/{proxier,helpers}.go` upstream.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{
    super::{
        family::IpFamily,
        nft::{Batch, Change, Element, Kind, Name, Rule, Set},
        view::ObjectName,
    },
    base::{NodeRules, base},
    elements::{Key, Leads, Shared, element, table},
    fragment::Fragment,
    picks::{Picks, add_small},
    resting::Resting,
};

/// What the kernel holds once all changes given out were made.
#[derive(Debug, Default)]
pub struct Table {
    family: IpFamily,
    fragments: BTreeMap<Arc<ObjectName>, Fragment>,
    claims: HashMap<(Shared, Key), Claims>,
    stale_chains: Resting<Name>,
    stale_endpoints: Resting<Key>,
    picks: Picks,
}

/// Who has an element: the first.
#[derive(Debug)]
struct Claims {
    first: Arc<ObjectName>,
    /// There are hardly ever any.
    #[expect(
        clippy::box_collection,
        reason = "there are many claims, and so they are small"
    )]
    others: Option<Box<Vec<Arc<ObjectName>>>>,
}

/// Changes in the order in which nftables must see them.
#[derive(Default)]
struct Script {
    add_chains: Vec<Change>,
    add_sets: Vec<Change>,
    flush_and_rules: Vec<Change>,
    delete_elements: BTreeSet<(Shared, Key)>,
    add_elements: BTreeMap<(Shared, Key), Leads>,
    delete_sets: Vec<Change>,
}

impl Script {
    fn finish(self, family: IpFamily) -> Batch {
        let deleted = self.delete_elements.into_iter();
        let deleted = deleted.map(|(to, key)| (to, element(key, &Leads::Nowhere)));
        let added = self.add_elements.into_iter();
        let added = added.map(|((to, key), leads)| (to, element(key, &leads)));
        let (mut batch, table) = (Batch::new(), table(family));
        self.add_chains
            .into_iter()
            .chain(self.add_sets)
            .chain(by_container(deleted, Change::DeleteElements))
            .chain(self.flush_and_rules)
            .chain(by_container(added, Change::AddElements))
            .chain(self.delete_sets)
            .for_each(|change| batch.push(&table, change));
        batch
    }

    fn add_element(&mut self, at: (Shared, Key), leads: &Leads) {
        self.add_elements.insert(at, leads.clone());
    }

    fn delete_element(&mut self, at: (Shared, Key)) {
        // One that another service of the same changes has just brought is not there yet.
        if self.add_elements.remove(&at).is_none() {
            self.delete_elements.insert(at);
        }
    }

    fn flush(&mut self, chain: &Name) {
        self.flush_and_rules.push(Change::FlushChain(chain.clone()));
    }

    fn chain(&mut self, name: &Name, old: Option<&Vec<Rule>>, new: &[Rule]) {
        match old {
            Some(_) => self.flush(name),
            None => self.add_chains.push(Change::AddChain(name.clone(), None)),
        }
        for rule in new {
            let add = Change::AddRule(name.clone(), rule.clone());
            self.flush_and_rules.push(add);
        }
    }
}

fn by_container(
    elements: impl Iterator<Item = (Shared, Element)>,
    change: fn(Name, Vec<Element>) -> Change,
) -> impl Iterator<Item = Change> {
    let mut all: BTreeMap<Shared, Vec<Element>> = BTreeMap::new();
    for (to, element) in elements {
        all.entry(to).or_default().push(element);
    }
    all.into_iter()
        .map(move |(to, elements)| change(to.name().into(), elements))
}

impl Table {
    pub fn new(family: IpFamily) -> Self {
        Table {
            family,
            picks: Picks::new(family),
            ..Self::default()
        }
    }

    /// From nothing, or from whatever is there, to exactly these services.
    pub fn replace(
        &mut self,
        node: &NodeRules,
        fragments: impl IntoIterator<Item = (ObjectName, Fragment)>,
    ) -> Batch {
        *self = Table::new(node.family);
        let mut batch = base(node);
        add_small(&mut batch, node.family);
        // The changes of all together: chains of one service may come before those of another, but never before the maps.
        let fragments = fragments.into_iter();
        let changes = fragments.map(|(name, fragment)| (name, Some(fragment)));
        batch.append(self.change(changes, Instant::now()));
        batch
    }

    /// From some services' fragments to new ones (`None`: the service is gone). Empty if nothing changes.
    pub fn change(
        &mut self,
        changes: impl IntoIterator<Item = (ObjectName, Option<Fragment>)>,
        now: Instant,
    ) -> Batch {
        let mut script = Script::default();
        let mut batch = Batch::new();
        for (name, new) in changes {
            let (name, old) = match self.fragments.remove_entry(&name) {
                Some(known) => known,
                None => (Arc::new(name), Fragment::default()),
            };
            let mut new = new.unwrap_or_default();
            new.keep_numbers(&old);
            if old != new {
                old.picks().for_each(|count| self.picks.let_go(count, now));
                new.picks()
                    .for_each(|count| self.picks.hold(&mut batch, count));
                self.change_one(&mut script, &name, &old, &new, now);
            }
            if new != Fragment::default() {
                self.fragments.insert(name, new);
            }
        }
        batch.append(script.finish(self.family));
        batch
    }

    fn change_one(
        &mut self,
        script: &mut Script,
        name: &Arc<ObjectName>,
        old: &Fragment,
        new: &Fragment,
        now: Instant,
    ) {
        for (chain, rules) in &new.chains {
            let before = old.chains.get(chain);
            if before != Some(rules) {
                // One that was emptied a moment ago is still there; adding it again does no harm.
                self.stale_chains.wake(chain);
                script.chain(chain, before, rules);
            }
        }
        for chain in old.chains.keys().filter(|c| !new.chains.contains_key(*c)) {
            script.flush(chain);
            self.stale_chains.rest(chain.clone(), now);
        }
        self.change_sets(script, old, new);
        let differs = |one: &Fragment, (to, key): &(Shared, Key), leads: &Leads| {
            one.elements.get(&(*to, *key)) != Some(leads)
        };
        for (at, leads) in old.elements.iter().filter(|(k, v)| differs(new, k, v)) {
            self.unclaim(script, name, *at, leads, now);
        }
        for (at, leads) in new.elements.iter().filter(|(k, v)| differs(old, k, v)) {
            self.claim(script, name, *at, leads);
        }
    }

    /// The sets that remember clients.
    fn change_sets(&self, script: &mut Script, old: &Fragment, new: &Fragment) {
        for (name, seconds) in &new.affinity {
            match old.affinity.get(name) {
                Some(before) if before == seconds => continue,
                // The timeout of a set cannot change: it is another set then, and its rules must be too.
                Some(_) => Self::renew_set(script, name, old, new),
                None => {}
            }
            script.add_sets.push(Change::AddSet(Set {
                remembers: Some(*seconds),
                ..Set::new(name, &[Kind::Ip(self.family)])
            }));
        }
        let old_sets = old.affinity.keys();
        for set in old_sets.filter(|s| !new.affinity.contains_key(*s)) {
            script.delete_sets.push(Change::DeleteSet(set.clone()));
        }
    }

    fn renew_set(script: &mut Script, set: &Name, old: &Fragment, new: &Fragment) {
        let mention = |rules: &[Rule]| rules.iter().any(|rule| rule.mentions(set));
        for (chain, rules) in old.chains.iter().filter(|(_, rules)| mention(rules)) {
            script.add_sets.push(Change::FlushChain(chain.clone()));
            if new.chains.get(chain) == Some(rules) {
                script.chain(chain, Some(rules), rules);
            }
        }
        script.add_sets.push(Change::DeleteSet(set.clone()));
    }

    fn claim(
        &mut self,
        script: &mut Script,
        name: &Arc<ObjectName>,
        at: (Shared, Key),
        leads: &Leads,
    ) {
        let Some(claims) = self.claims.get_mut(&at) else {
            if self.stale_endpoints.wake(&at.1) {
                script.delete_element(at);
            }
            script.add_element(at, leads);
            let (first, others) = (name.clone(), None);
            self.claims.insert(at, Claims { first, others });
            return;
        };
        if !matches!(leads, Leads::Nowhere | Leads::To(..)) {
            let element = element(at.1, &Leads::Nowhere);
            let (map, first) = (at.0.name(), &claims.first);
            tracing::warn!("{name} wants {map} {element}, which is {first}'s");
        }
        claims.others.get_or_insert_default().push(name.clone());
    }

    fn unclaim(
        &mut self,
        script: &mut Script,
        name: &Arc<ObjectName>,
        at: (Shared, Key),
        leads: &Leads,
        now: Instant,
    ) {
        let Some(claims) = self.claims.get_mut(&at) else {
            return;
        };
        if claims.first != *name {
            if let Some(others) = &mut claims.others {
                others.retain(|other| other != name);
            }
            return;
        }
        let Some(others) = claims.others.as_mut().filter(|others| !others.is_empty()) else {
            self.claims.remove(&at);
            if at.0 == Shared::Endpoints {
                self.stale_endpoints.rest(at.1, now);
            } else {
                script.delete_element(at);
            }
            return;
        };
        claims.first = others.remove(0);
        let next = self.fragments.get(&claims.first);
        let next = next.and_then(|fragment| fragment.elements.get(&at));
        if let Some(next) = next.filter(|next| *next != leads) {
            script.delete_element(at);
            script.add_element(at, next);
        }
    }

    /// Deletes the chains, and the numbers of endpoints, that have rested long enough.
    pub fn sweep(&mut self, now: Instant) -> Batch {
        let mut script = Script::default();
        for key in self.stale_endpoints.due(now) {
            script.delete_element((Shared::Endpoints, key));
        }
        let (mut batch, table) = (script.finish(self.family), table(self.family));
        for chain in self.stale_chains.due(now) {
            batch.push(&table, Change::DeleteChain(chain));
        }
        self.picks.sweep(&mut batch, now);
        batch
    }

    /// When the next sweep is due.
    pub fn next_sweep(&self) -> Option<Instant> {
        let all = [
            self.stale_chains.next(),
            self.stale_endpoints.next(),
            self.picks.next_sweep(),
        ];
        all.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            elements::{TABLE, pick},
            plan::PortPlan,
            resting::REST,
            rules::{
                render,
                tests::{node, plan},
            },
        },
        *,
    };
    use crate::network::services::node::Endpoint;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("ns", name)
    }

    /// First words of each line, without the table's name and the names of chains.
    fn show(script: &Batch) -> Vec<String> {
        let script = script.to_string();
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
        table.replace(&node(), []);
        let fragment = |endpoints: &[u8]| Some(render(&[plan("a", 1, endpoints)], &node()));
        let added = table.change([(name("a"), fragment(&[2, 102]))], now);
        assert_eq!(
            show(&added),
            [
                "add element service",
                "add element cluster",
                "add element hairpin",
                "add element endpoints"
            ]
        );
        assert_eq!(
            table.change([(name("a"), fragment(&[2, 102]))], now),
            Batch::new(),
            "the same again"
        );
        assert_eq!(
            show(&table.change([(name("a"), fragment(&[2, 103]))], now)),
            ["delete element endpoints", "add element endpoints"]
        );
        let emptied = table.change([(name("a"), fragment(&[]))], now);
        assert_eq!(
            show(&emptied),
            [
                "delete element service",
                "delete element hairpin",
                "add element no"
            ]
        );
        assert_eq!(table.sweep(now), Batch::new(), "not yet");
        let back = table.change([(name("a"), fragment(&[2]))], now);
        assert_eq!(
            show(&back),
            [
                "delete element no",
                "delete element endpoints",
                "add element service",
                "add element hairpin",
                "add element endpoints"
            ],
            "a number that rests takes its new endpoint"
        );
        let swept = table.sweep(now + REST);
        assert_eq!(show(&swept), ["delete element endpoints"], "the other one");
        table.change([(name("a"), None)], now);
        table.sweep(now + REST);
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
        let only = |script: Batch, word: &str| {
            script
                .to_string()
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
    fn an_element_that_two_services_let_go_at_once() {
        let now = Instant::now();
        let mut table = Table::default();
        let external = |service: &str, last| {
            let port = PortPlan {
                node_port: Some(30000),
                ..plan(service, last, &[2])
            };
            Some(render(&[port], &node()))
        };
        let both = [(name("a"), external("a", 1)), (name("b"), external("b", 2))];
        table.change(both, now);
        let gone = table.change([(name("a"), None), (name("b"), None)], now);
        let text = gone.to_string();
        let lines: Vec<_> = text.lines().filter(|l| l.contains("nodeports")).collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with("delete"),
            "{lines:?}"
        );
    }

    /// Whoever looks at the tables with the program `nft` sees them, although they were not made by it.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_program_lists_them() {
        use super::super::super::{
            nft::{Nft, tests::nft},
            ns::Namespace,
            tests::services::nftables,
        };
        if !nftables().await {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = Namespace::make(&path).await.unwrap();
        let mut open = plan("open", 2, &[102, 103]);
        open.node_port = Some(30000);
        open.affinity = Some(60);
        let plans = [plan("a", 1, &[102, 103, 104]), open];
        let fragments = plans.map(|plan| (plan.service.clone(), render(&[plan], &node())));
        let batch = Table::default().replace(&node(), fragments);
        Nft::find(&ns).await.unwrap().apply(batch).await.unwrap();
        if nft(&path, &["-v"], "").await.is_none() {
            skiff_testing::skipped("the program nft is not installed");
        } else {
            let listed = nft(&path, &["list", "ruleset"], "").await;
            let listed = listed.expect("nft lists what is there");
            for part in [
                "10.96.0.1 . tcp . 80 : goto pick-3",
                "numgen random mod 3 map @endpoints",
                "10.244.0.104",
            ] {
                assert!(listed.contains(part), "{part} in {listed}");
            }
        }
        Namespace::delete(&path).unwrap();
    }

    #[test]
    fn a_chain_is_reused_before_it_goes() {
        let now = Instant::now();
        let mut table = Table::default();
        let open = |endpoints: &[u8]| {
            let port = PortPlan {
                node_port: Some(30000),
                ..plan("a", 1, endpoints)
            };
            Some(render(&[port], &node()))
        };
        table.change([(name("a"), open(&[102]))], now);
        let emptied = table.change([(name("a"), open(&[]))], now);
        let flushed = |shown: &[String]| shown.iter().filter(|s| *s == "flush chain svc").count();
        assert_eq!(flushed(&show(&emptied)), 1, "{emptied}");
        let back = table.change([(name("a"), open(&[103]))], now);
        assert!(show(&back).contains(&"add chain svc".to_owned()), "{back}");
        assert_eq!(table.sweep(now + REST), Batch::new());
        table.change([(name("a"), None)], now);
        let swept = table.sweep(now + REST);
        assert_eq!(show(&swept), ["delete chain ext", "delete chain svc"]);
    }

    #[test]
    fn more_endpoints_than_there_are_chains_for() {
        let now = Instant::now();
        let mut table = Table::default();
        table.replace(&node(), []);
        let fragment = |count: u8| {
            let endpoints: Vec<u8> = (100..100 + count).collect();
            Some(render(&[plan("a", 1, &endpoints)], &node()))
        };
        let first = table.change([(name("a"), fragment(32))], now);
        assert!(!first.to_string().contains("add chain"), "{first}");
        let chain = |count: u32| format!("chain ip skiff-proxy {}\n", pick(count));
        // One that has just been left is there still.
        for (count, made) in [(33, 1), (34, 1), (33, 0)] {
            let changed = table.change([(name("a"), fragment(count))], now);
            let add = format!("add {}", chain(count.into()));
            let changed = changed.to_string();
            assert_eq!(changed.matches(&add).count(), made, "{changed}");
        }
        let swept = table.sweep(now + REST).to_string();
        for word in ["flush", "delete"] {
            assert!(
                swept.contains(&format!("{word} {}", chain(34))) && !swept.contains("pick-33"),
                "{swept}"
            );
        }
        // Both of those who use one have to leave it, and small ones stay.
        let other = || Some(render(&[plan("b", 2, &[1; 0])], &node()));
        let also: Vec<u8> = (100..133).collect();
        let also = Some(render(&[plan("b", 2, &also)], &node()));
        table.change([(name("b"), also)], now);
        table.change([(name("a"), fragment(3))], now);
        let swept = table.sweep(now + REST).to_string();
        assert!(!swept.contains("chain"), "{swept}");
        table.change([(name("b"), other()), (name("a"), None)], now);
        let swept = table.sweep(now + REST).to_string();
        assert!(
            swept.contains(&chain(33)) && !swept.contains(&chain(3)),
            "{swept}"
        );
        let back = table.change([(name("a"), fragment(33))], now).to_string();
        assert!(back.contains(&format!("add {}", chain(33))), "{back}");
    }

    /// Whichever of a thousand comes or goes, it is its own element, that of the one who takes its number, and how many there are.
    #[test]
    fn one_of_a_thousand_endpoints_changes() {
        let now = Instant::now();
        let mut table = Table::default();
        table.replace(&node(), []);
        let fragment = |numbers: &BTreeSet<u32>| {
            let endpoint = |number: &u32| Endpoint {
                ip: std::net::Ipv4Addr::from(0x0af4_0000 + number).into(),
                port: 8080,
                local: false,
            };
            let mut plan = plan("a", 1, &[102]);
            plan.cluster_endpoints = numbers.iter().map(endpoint).collect();
            [(name("a"), Some(render(&[plan], &node())))]
        };
        let elements = |batch: &Batch| -> usize {
            let all = batch.changes.iter().map(|(_, change)| match change {
                Change::AddElements(_, all) | Change::DeleteElements(_, all) => all.len(),
                _ => 0,
            });
            all.sum()
        };
        let mut there: BTreeSet<u32> = (1..=1000).collect();
        assert_eq!(elements(&table.change(fragment(&there), now)), 1002);
        for number in [1, 500, 1000, 2] {
            there.remove(&number);
            let fewer = table.change(fragment(&there), now);
            assert!(elements(&fewer) <= 4, "without {number}: {fewer}");
            let swept = table.sweep(now + REST);
            assert_eq!(elements(&swept), 1, "{swept}");
        }
        for number in [1, 2000] {
            there.insert(number);
            let more = table.change(fragment(&there), now);
            assert_eq!(elements(&more), 3, "with {number}: {more}");
        }
        there.remove(&7);
        there.insert(3000);
        let other = table.change(fragment(&there), now);
        assert_eq!(elements(&other), 2, "one for another: {other}");
    }

    #[test]
    fn a_number_that_is_free_again_rests_first() {
        let now = Instant::now();
        let mut table = Table::default();
        table.replace(&node(), []);
        let fragment = |endpoints: &[u8]| Some(render(&[plan("a", 1, endpoints)], &node()));
        table.change([(name("a"), fragment(&[101, 102, 103]))], now);
        let fewer = table.change([(name("a"), fragment(&[101, 102]))], now);
        assert_eq!(
            show(&fewer),
            ["delete element service", "add element service"]
        );
        let more = table.change([(name("a"), fragment(&[101, 102, 104]))], now);
        let shown = show(&more);
        assert_eq!(
            (shown[1].as_str(), shown[3].as_str()),
            ("delete element endpoints", "add element endpoints"),
            "it was still there: {shown:?}"
        );
        assert_eq!(table.sweep(now + REST), Batch::new());
        table.change([(name("a"), fragment(&[101, 102]))], now);
        let swept = table.sweep(now + REST);
        assert_eq!(show(&swept), ["delete element endpoints"]);
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
        let script = script.to_string();
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
        let without = without.to_string();
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
