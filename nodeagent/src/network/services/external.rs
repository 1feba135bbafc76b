//! How a service is reached otherwise than by its ClusterIP: by node ports, external and load balancer addresses.
//!
//! Invariant: pure. What is only for some of the outside is for nobody else of it, but this node and its pods are inside the cluster.
//! Follows `pkg/proxy/nftables/proxier.go` upstream.

use ipnet::IpNet;

use super::{
    super::{
        family,
        nft::{Field, LOCAL, Rule, Side, Statement, Test, Value},
    },
    base::{MARK, NodeRules, from},
    elements::{Key, Leads, Shared},
    fragment::Fragment,
    names::Names,
    plan::{PortPlan, Target},
};

/// Adds them, where there are any.
pub fn render_external(fragment: &mut Fragment, plan: &PortPlan, names: &Names, node: &NodeRules) {
    if !plan.externally_accessible() {
        return;
    }
    let protocol = plan.protocol;
    let mut everywhere = Vec::new();
    for ip in plan.external_ips.iter().chain(&plan.load_balancer_ips) {
        everywhere.push((
            Shared::ServiceIps,
            Shared::NoEndpointServices,
            Key::At(*ip, protocol, plan.port),
        ));
    }
    if let Some(port) = plan.node_port {
        everywhere.push((
            Shared::ServiceNodePorts,
            Shared::NoEndpointNodePorts,
            Key::Port(protocol, port),
        ));
    }
    for (services, none, key) in everywhere {
        // Both when the policy leaves nothing for the outside, but this node and its pods are still served.
        if plan.has_endpoints {
            fragment.add(services, key, Leads::Goto(names.external.clone()));
        }
        match plan.external() {
            Target::Endpoints(_) => {}
            Target::Drop => fragment.add(none, key, Leads::Drop),
            Target::Reject => fragment.add(none, key, Leads::Refuse),
        }
    }
    if plan.has_endpoints {
        fragment
            .chains
            .insert(names.external.clone(), external_rules(plan, names, node));
    }
    if !plan.load_balancer_ips.is_empty() && !plan.load_balancer_sources.is_empty() {
        fragment
            .chains
            .insert(names.firewall.clone(), vec![firewall_rule(plan, node)]);
        for ip in &plan.load_balancer_ips {
            let key = Key::At(*ip, protocol, plan.port);
            let leads = Leads::Goto(names.firewall.clone());
            fragment.add(Shared::FirewallIps, key, leads);
        }
    }
}

fn external_rules(plan: &PortPlan, names: &Names, node: &NodeRules) -> Vec<Rule> {
    let Names { cluster, local, .. } = names;
    if !plan.external_local {
        // The endpoint may be on another node, which must answer through this one.
        let marked = Rule::new().then(Statement::MarkOr(MARK));
        return vec![marked, Rule::new().goto(cluster.clone())];
    }
    let mut rules = Vec::new();
    if !plan.cluster_endpoints.is_empty() {
        // This node and its pods are inside the cluster: the policy for the outside is not for them.
        let from_pods = Rule::new().when(from(node.family), Test::Within(node.pod_cidr.trunc()));
        rules.push(from_pods.goto(cluster.clone()));
        let own = Test::Is(Value::Number(LOCAL));
        let from_here = Rule::new().when(Field::AddressType(Side::Source), own);
        rules.push(from_here.clone().then(Statement::MarkOr(MARK)));
        rules.push(from_here.goto(cluster.clone()));
    }
    if !plan.local_endpoints.is_empty() {
        rules.push(Rule::new().goto(local.clone()));
    }
    rules
}

fn firewall_rule(plan: &PortPlan, node: &NodeRules) -> Rule {
    let mut sources: Vec<_> = plan
        .load_balancer_sources
        .iter()
        .map(IpNet::trunc)
        .collect();
    // The balancer's address may be this node's own as well: then its own packets come from there.
    if plan
        .load_balancer_sources
        .iter()
        .any(|s| node.node_ips.iter().any(|ip| s.contains(ip)))
    {
        sources.extend(plan.load_balancer_ips.iter().copied().map(family::alone));
    }
    // The kernel takes no ranges that overlap.
    let sources = IpNet::aggregate(&sources).into_iter();
    let sources = sources.map(|net| (Value::Ip(net.network()), Value::Ip(net.broadcast())));
    Rule::new()
        .when(from(node.family), Test::NotIn(sources.collect()))
        .drop()
}
