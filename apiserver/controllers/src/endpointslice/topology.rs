//! Hints by proportion: for services with `topology-mode: Auto`, for which zone each endpoint is meant, so that each zone has endpoints as it
//! has processors.
//!
//! Invariant: pure but for [`Hinted`], which remembers what was hinted. All ready endpoints of a service have a hint or none has. Follows
//! k8s.io/endpointslice/topologycache; where that takes any zone, the first by name is taken.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::Node,
    discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForZone},
};
use skiff_api::machinery::quantity::Quantity;

use super::{plan::Plan, zones::zone_of};
use crate::{events::EventType, key::Key, node_lifecycle::health::ready_status};

/// Nodes with one of these count for nothing.
const EXCLUDED: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];
/// By how much an endpoint may have more to do than it would have without hints.
const OVERLOAD: f64 = 0.2;
const DISABLED: &str = "TopologyAwareHintsDisabled";
const ENABLED: &str = "TopologyAwareHintsEnabled";

/// Which part of all processors each zone has; empty where too little is known of nodes.
pub type Shares = BTreeMap<String, f64>;
/// How many endpoints are meant for each zone.
pub type Counts = BTreeMap<String, usize>;

/// One thing to tell of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

/// Whether a change of a node may change [`shares`].
pub fn matters(old: &Node, new: &Node) -> bool {
    let look = |node: &Node| {
        let ready = ready_status(node) == Some("True");
        (ready, zone_of(node).map(str::to_owned))
    };
    look(old) != look(new)
}

fn processors(node: &Node) -> i64 {
    let status = node.status.as_ref();
    let amount = status.and_then(|status| status.allocatable.as_ref()?.get("cpu"));
    let amount = amount.and_then(|amount| amount.0.parse::<Quantity>().ok());
    amount.map_or(0, |amount| amount.milli_value())
}

/// The shares of the zones of nodes that are ready: of none, if one of these has no zone or no processors, or all are in one zone.
pub fn shares<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Shares {
    let mut by_zone = BTreeMap::<String, i64>::new();
    for node in nodes {
        let labels = node.metadata.labels.as_ref();
        let excluded = labels.is_some_and(|l| EXCLUDED.iter().any(|key| l.contains_key(*key)));
        if excluded || ready_status(node) != Some("True") {
            continue;
        }
        match (zone_of(node), processors(node)) {
            (Some(zone), processors) if processors != 0 => {
                *by_zone.entry(zone.to_owned()).or_default() += processors;
            }
            _ => return Shares::new(),
        }
    }
    let total: i64 = by_zone.values().sum();
    if total == 0 || by_zone.len() < 2 {
        return Shares::new();
    }
    let share = |(zone, part): (String, i64)| (zone, part as f64 / total as f64);
    by_zone.into_iter().map(share).collect()
}

/// The least that a zone with a share needs of so many endpoints.
fn least(total: usize, share: f64) -> usize {
    (total as f64 * share * (1.0 / (1.0 + OVERLOAD))).ceil() as usize
}

/// How many endpoints a zone should have, and has at most.
struct Wanted {
    desired: f64,
    most: usize,
}

fn wanted(shares: &Shares, total: usize) -> Result<BTreeMap<String, Wanted>, String> {
    if shares.is_empty() {
        return Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes".into());
    }
    let of = format!("({total} endpoints, {} zones)", shares.len());
    if shares.len() > total {
        return Err(format!("Insufficient number of endpoints {of}"));
    }
    let needed: usize = shares.values().map(|share| least(total, *share)).sum();
    let spare = total.checked_sub(needed).ok_or_else(|| {
        format!("Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {of}")
    })?;
    let of_zone = |(zone, share): (&String, &f64)| {
        let least = least(total, *share);
        let wanted = Wanted {
            desired: (share * total as f64).max(least as f64),
            most: least + spare,
        };
        (zone.clone(), wanted)
    };
    Ok(shares.iter().map(of_zone).collect())
}

fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.is_some_and(|conditions| conditions.ready == Some(true))
}

fn ready(slice: &EndpointSlice) -> impl Iterator<Item = &Endpoint> {
    slice.endpoints.iter().flatten().filter(|e| is_ready(e))
}

fn meant_for(zone: &str) -> EndpointHints {
    EndpointHints {
        for_zones: Some(vec![ForZone { name: zone.into() }]),
        ..Default::default()
    }
}

/// For which zones the endpoints of a slice are meant; `None` where it cannot stay as it is.
fn kept(
    slice: &EndpointSlice,
    so_far: &Counts,
    wanted: &BTreeMap<String, Wanted>,
) -> Option<Counts> {
    let mut counts = Counts::new();
    for endpoint in ready(slice) {
        let zones = endpoint.hints.as_ref()?.for_zones.as_ref()?;
        if zones.is_empty() {
            return None;
        }
        for zone in zones {
            *counts.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, count): (&String, &usize)| {
        let before = so_far.get(zone).copied().unwrap_or(0);
        wanted
            .get(zone)
            .is_some_and(|wanted| count + before <= wanted.most)
    };
    counts.iter().all(fits).then_some(counts)
}

fn most(zones: &BTreeMap<String, f64>) -> Option<(String, f64)> {
    let mut found: Option<(&String, f64)> = None;
    for (zone, count) in zones {
        if *count > found.map_or(0.0, |(_, most)| most) {
            found = Some((zone, *count));
        }
    }
    found.map(|(zone, count)| (zone.clone(), count))
}

/// How many endpoints zones give to others, and how many they get.
fn moves(wanted: &BTreeMap<String, Wanted>, counts: &Counts) -> (Counts, Counts) {
    let (mut too_many, mut too_few) = (BTreeMap::new(), BTreeMap::new());
    for (zone, wanted) in wanted {
        let over = counts.get(zone).copied().unwrap_or(0) as f64 - wanted.desired;
        if over > 0.0 {
            too_many.insert(zone.clone(), over);
        } else if over < 0.0 {
            too_few.insert(zone.clone(), -over);
        }
    }
    let (mut give, mut get) = (Counts::new(), Counts::new());
    while let (Some((giver, spare)), Some((taker, lack))) = (most(&too_many), most(&too_few)) {
        if (spare < 1.0 && lack < 1.0) || spare < 0.5 || lack < 0.5 {
            break;
        }
        *give.entry(giver.clone()).or_default() += 1;
        *get.entry(taker.clone()).or_default() += 1;
        too_many.insert(giver, spare - 1.0);
        too_few.insert(taker, lack - 1.0);
    }
    (give, get)
}

/// Takes one of a zone's count; true when there was one.
fn take(counts: &mut Counts, zone: &str) -> bool {
    match counts.get_mut(zone) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

fn slices(plan: &mut Plan) -> impl Iterator<Item = &mut EndpointSlice> {
    plan.create.iter_mut().chain(&mut plan.update)
}

fn endpoints(plan: &mut Plan) -> impl Iterator<Item = &mut Endpoint> {
    slices(plan).flat_map(|slice| slice.endpoints.iter_mut().flatten())
}

/// Takes all hints away.
fn remove(plan: &mut Plan, unchanged: &[Arc<EndpointSlice>]) {
    let hinted = |slice: &&Arc<EndpointSlice>| {
        let mut endpoints = slice.endpoints.iter().flatten();
        endpoints.any(|endpoint| endpoint.hints.is_some())
    };
    let unhinted = unchanged
        .iter()
        .filter(hinted)
        .map(|slice| (**slice).clone());
    plan.update.extend(unhinted);
    endpoints(plan).for_each(|endpoint| endpoint.hints = None);
}

/// Makes the hints of one family's slices, of which `plan` says what becomes of them and `unchanged` which stay. Gives how many endpoints are
/// meant for each zone, or why there are no hints.
pub fn hint(
    shares: &Shares,
    plan: &mut Plan,
    unchanged: &[Arc<EndpointSlice>],
) -> Result<Counts, String> {
    let outcome = tried(shares, plan, unchanged);
    if outcome.is_err() {
        remove(plan, unchanged);
    }
    outcome
}

fn tried(
    shares: &Shares,
    plan: &mut Plan,
    unchanged: &[Arc<EndpointSlice>],
) -> Result<Counts, String> {
    let changed: usize = slices(plan).map(|slice| ready(slice).count()).sum();
    let total = changed
        + unchanged
            .iter()
            .map(|slice| ready(slice).count())
            .sum::<usize>();
    let wanted = wanted(shares, total)?;
    let mut counts = Counts::new();
    let mut again = Vec::new();
    for slice in unchanged {
        match kept(slice, &counts, &wanted) {
            Some(kept) => {
                for (zone, count) in kept {
                    *counts.entry(zone).or_default() += count;
                }
            }
            None => again.push((**slice).clone()),
        }
    }
    let lacks_zone = |e: &Endpoint| is_ready(e) && e.zone.as_ref().is_none_or(String::is_empty);
    let later = again.iter().flat_map(ready).any(lacks_zone);
    if later || endpoints(plan).any(|endpoint| lacks_zone(endpoint)) {
        return Err("One or more endpoints do not have a zone specified".into());
    }
    plan.update.extend(again);
    for endpoint in endpoints(plan) {
        endpoint.hints = None;
        if is_ready(endpoint)
            && let Some(zone) = &endpoint.zone
        {
            *counts.entry(zone.clone()).or_default() += 1;
            endpoint.hints = Some(meant_for(zone));
        }
    }
    let (mut give, mut get) = moves(&wanted, &counts);
    for endpoint in endpoints(plan).filter(|endpoint| is_ready(endpoint)) {
        let Some(taker) = get.iter().find(|(_, count)| **count > 0) else {
            break;
        };
        let taker = taker.0.clone();
        if let Some(zone) = &endpoint.zone
            && take(&mut give, zone)
        {
            take(&mut get, &taker);
            take(&mut counts, zone);
            *counts.entry(taker.clone()).or_default() += 1;
            endpoint.hints = Some(meant_for(&taker));
        }
    }
    Ok(counts)
}

/// For which zones the endpoints of services are meant, by family.
#[derive(Default)]
pub struct Hinted(HashMap<Key, HashMap<String, Counts>>);

impl Hinted {
    /// Notes what came of [`hint`], or that the service asks for no hints (`None`); gives what there is to tell of it.
    pub fn note(
        &mut self,
        key: &Key,
        family: &str,
        outcome: Option<Result<Counts, String>>,
    ) -> Option<Told> {
        let before = self.0.contains_key(key);
        let told = |kind, reason, message: &str| Told {
            kind,
            reason,
            message: format!("{message}, addressType: {family}"),
        };
        match outcome {
            Some(Ok(counts)) => {
                let families = self.0.entry(key.clone()).or_default();
                families.insert(family.to_owned(), counts);
                let message = "Topology Aware Hints has been enabled";
                (!before).then(|| told(EventType::Normal, ENABLED, message))
            }
            Some(Err(why)) => {
                self.forget(key);
                Some(told(EventType::Warning, DISABLED, &why))
            }
            None => {
                self.forget(key);
                let message = "Topology Aware Hints has been disabled";
                before.then(|| told(EventType::Warning, DISABLED, message))
            }
        }
    }

    /// The service is gone.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Whether no service has hints.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Services whose endpoints in some zone have more to do than they may.
    pub fn overloaded(&self, shares: &Shares) -> Vec<Key> {
        let over = |counts: &Counts| {
            let total: usize = counts.values().sum();
            let short = |(zone, share): (&String, &f64)| {
                let least = least(total, *share);
                counts.get(zone).is_none_or(|count| *count < least)
            };
            total > 0 && (shares.is_empty() || shares.iter().any(short))
        };
        let services = self
            .0
            .iter()
            .filter(|(_, families)| families.values().any(over));
        services.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn node(zone: &str, cpu: &str, changes: Value) -> Node {
        let mut node = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}, "status": {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": "True"}]}});
        skiff_api::machinery::patch::merge::apply(&mut node, changes, false).unwrap();
        from_value(node).unwrap()
    }

    fn slice(endpoints: &[(&str, bool, &str)]) -> EndpointSlice {
        let endpoint = |(zone, ready, hint): &(&str, bool, &str)| {
            let mut endpoint =
                json!({"addresses": ["10.0.0.1"], "zone": zone, "conditions": {"ready": ready}});
            if !hint.is_empty() {
                endpoint["hints"] = json!({"forZones": [{"name": hint}]});
            }
            endpoint
        };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        from_value(json!({"addressType": "IPv4", "endpoints": endpoints})).unwrap()
    }

    fn shown(slice: &EndpointSlice) -> String {
        let hint = |endpoint: &Endpoint| {
            let zones = endpoint
                .hints
                .as_ref()
                .and_then(|hints| hints.for_zones.as_ref());
            zones.map_or("-".to_owned(), |zones| zones[0].name.clone())
        };
        let hints: Vec<_> = slice.endpoints.iter().flatten().map(hint).collect();
        hints.join(" ")
    }

    #[test]
    fn zones_share_by_their_processors() {
        let none = || json!({});
        let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        let control =
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
        let cases = [
            (
                vec![node("a", "1", none()), node("b", "3", none())],
                "a 0.25, b 0.75",
            ),
            (
                vec![
                    node("a", "500m", none()),
                    node("b", "1", none()),
                    node("a", "500m", none()),
                ],
                "a 0.5, b 0.5",
            ),
            (vec![node("a", "1", none()), node("a", "1", none())], ""),
            (
                vec![
                    node("a", "1", none()),
                    node("b", "1", none()),
                    node("", "1", none()),
                ],
                "",
            ),
            (vec![node("a", "1", none()), node("b", "0", none())], ""),
            (
                vec![
                    node("a", "1", none()),
                    node("b", "1", none()),
                    node("", "1", not_ready),
                ],
                "a 0.5, b 0.5",
            ),
            (
                vec![
                    node("a", "1", none()),
                    node("b", "1", none()),
                    node("", "1", control),
                ],
                "a 0.5, b 0.5",
            ),
        ];
        for (nodes, expected) in cases {
            let found: Vec<_> = shares(&nodes)
                .iter()
                .map(|(zone, share)| format!("{zone} {share}"))
                .collect();
            assert_eq!(found.join(", "), expected, "{nodes:?}");
        }
    }

    #[test]
    fn endpoints_are_meant_for_zones_as_these_have_processors() {
        let even = || Shares::from([("a".into(), 0.5), ("b".into(), 0.5)]);
        let uneven = || Shares::from([("a".into(), 0.25), ("b".into(), 0.75)]);
        let of = |zones: &[&'static str]| {
            zones
                .iter()
                .map(|zone| (*zone, true, ""))
                .collect::<Vec<_>>()
        };
        let cases = [
            (even(), of(&["a", "b"]), "a b"),
            (even(), of(&["a", "a", "a", "b"]), "b a a b"),
            (uneven(), of(&["a", "a", "b", "b"]), "b a b b"),
            (
                even(),
                vec![("a", true, ""), ("b", false, "b"), ("b", true, "")],
                "a - b",
            ),
            (
                even(),
                of(&["a"]),
                "Insufficient number of endpoints (1 endpoints, 2 zones)",
            ),
            (
                even(),
                of(&["a", "b", "b"]),
                "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (3 endpoints, 2 zones)",
            ),
            (
                even(),
                of(&["a", ""]),
                "One or more endpoints do not have a zone specified",
            ),
            (
                Shares::new(),
                of(&["a", "b"]),
                "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
            ),
        ];
        for (shares, endpoints, expected) in cases {
            let mut plan = Plan {
                create: vec![slice(&endpoints)],
                ..Plan::default()
            };
            let found = match hint(&shares, &mut plan, &[]) {
                Ok(_) => shown(&plan.create[0]),
                Err(why) => {
                    assert!(
                        plan.create[0]
                            .endpoints
                            .iter()
                            .flatten()
                            .all(|e| e.hints.is_none()),
                        "{why}"
                    );
                    why
                }
            };
            assert_eq!(found, expected, "{endpoints:?}");
        }
    }

    #[test]
    fn a_slice_whose_hints_still_fit_stays() {
        let shares = Shares::from([("a".into(), 0.5), ("b".into(), 0.5)]);
        let good = Arc::new(slice(&[("a", true, "a"), ("b", true, "b")]));
        let mut plan = Plan::default();
        let counts = hint(&shares, &mut plan, std::slice::from_ref(&good)).unwrap();
        assert_eq!((counts["a"], counts["b"], plan.update.len()), (1, 1, 0));
        // too many for one zone
        let bad = Arc::new(slice(&[("a", true, "b"), ("b", true, "b")]));
        assert!(hint(&shares, &mut plan, &[bad]).is_ok());
        assert_eq!(shown(&plan.update[0]), "a b");
        // too little is known: what stayed loses its hints
        let mut plan = Plan::default();
        assert!(hint(&Shares::new(), &mut plan, &[good]).is_err());
        assert_eq!(shown(&plan.update[0]), "- -");
    }

    #[test]
    fn it_is_told_when_hints_come_and_go() {
        let (mut hinted, key) = (Hinted::default(), Key::new("ns", "w"));
        let counts = || Some(Ok(Counts::from([("a".into(), 1), ("b".into(), 1)])));
        let mut note = |outcome| {
            let told = hinted.note(&key, "IPv4", outcome);
            told.map(|told| format!("{}: {}", told.reason, told.message))
        };
        let enabled =
            "TopologyAwareHintsEnabled: Topology Aware Hints has been enabled, addressType: IPv4";
        let disabled =
            "TopologyAwareHintsDisabled: Topology Aware Hints has been disabled, addressType: IPv4";
        assert_eq!(note(None), None);
        assert_eq!(note(counts()).as_deref(), Some(enabled));
        assert_eq!(note(counts()), None);
        assert_eq!(note(None).as_deref(), Some(disabled));
        let why = "TopologyAwareHintsDisabled: why, addressType: IPv4";
        assert_eq!(note(Some(Err("why".into()))).as_deref(), Some(why));
        note(counts());
        let shares = |a: f64| Shares::from([("a".into(), a), ("b".into(), 1.0 - a)]);
        assert!(hinted.overloaded(&shares(0.5)).is_empty());
        assert_eq!(hinted.overloaded(&shares(0.1)), std::slice::from_ref(&key));
        assert_eq!(hinted.overloaded(&Shares::new()), [key]);
    }
}
