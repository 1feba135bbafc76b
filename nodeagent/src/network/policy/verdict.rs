//! What policies say of one pod: which chains its packets meet, and what those let through.
//!
//! Invariant: pure, and what policies of a pod's namespace that select it allow adds up. Follows the documented meaning of `networking.k8s.io/v1`.

use std::collections::BTreeMap;

use super::{
    super::view::ObjectName,
    read::{Policy, Ports, Rule, Which, join},
    rules::{self, Allow, Chain, Direction, Other, SetKey},
    view::{NamedPort, Pod},
};

/// The chains of a pod, ingress and egress; none where no policy isolates it.
pub fn sides(policies: &BTreeMap<ObjectName, Policy>, pod: &Pod) -> (Option<Chain>, Option<Chain>) {
    let from = ObjectName::new(pod.namespace.clone(), "");
    let selecting: Vec<_> = policies
        .range(from..)
        .take_while(|(name, _)| name.namespace == pod.namespace)
        .map(|(_, policy)| policy)
        .filter(|policy| policy.pods.matches(&pod.labels))
        .collect();
    let side = |direction, rules: fn(&Policy) -> Option<&Vec<Rule>>| {
        let mut isolated = false;
        let mut allowed = Vec::new();
        for rule in selecting
            .iter()
            .filter_map(|policy| rules(policy))
            .inspect(|_| isolated = true)
            .flatten()
        {
            allow(&mut allowed, direction, rule, &pod.ports);
        }
        isolated.then(|| rules::chain(direction, &allowed))
    };
    (
        side(Direction::Ingress, |policy| policy.ingress.as_ref()),
        side(Direction::Egress, |policy| policy.egress.as_ref()),
    )
}

/// What one rule allows. Named ports are those of the pod that is connected to: of this one, or of each peer.
fn allow(allowed: &mut Vec<Allow>, direction: Direction, rule: &Rule, own: &[NamedPort]) {
    let Ports::These(ports) = &rule.ports else {
        let all = rule.peers.iter().map(|peer| Allow {
            other: Other::of(peer),
            ports: None,
        });
        return allowed.extend(all);
    };
    let mut numbers: BTreeMap<_, Vec<(u16, u16)>> = BTreeMap::new();
    for port in ports {
        let of_protocol = numbers.entry(port.protocol).or_default();
        match &port.which {
            Which::Any => of_protocol.push((0, u16::MAX)),
            Which::Range(first, last) => of_protocol.push((*first, *last)),
            Which::Named(name) if direction == Direction::Ingress => {
                let fits = |p: &&NamedPort| p.protocol == port.protocol && p.name == *name;
                of_protocol.extend(own.iter().filter(fits).map(|p| (p.port, p.port)));
            }
            Which::Named(name) => allowed.extend(rule.peers.iter().map(|peer| Allow {
                other: Other::Set(SetKey::Ports {
                    peer: peer.clone(),
                    protocol: port.protocol,
                    name: name.clone(),
                }),
                ports: None,
            })),
        }
    }
    for (protocol, mut ranges) in numbers {
        join(&mut ranges, |last| last.saturating_add(1));
        if !ranges.is_empty() {
            allowed.extend(rule.peers.iter().map(|peer| Allow {
                other: Other::of(peer),
                ports: Some((protocol, ranges.clone())),
            }));
        }
    }
}
