//! The way from a cluster's nodes to the world outside of the host, and what keeps the world out: one nftables table an instance, and where another
//! program's table drops forwarded packets (Docker, ufw), an exception in it.
//!
//! Invariant: everything here bears the instance's tag, as the table's name or as the rule's comment, and `close` finds it by that. No rule concerns
//! what does not pass the instance's own bridge: others on this host may have the same addresses.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::{
    Error,
    nft::{Listed, Nft},
    ns::Namespace,
};

/// Puts the table in place, whole. `inside` is what lies behind the bridge: those addresses are hidden behind the host's own when they leave.
/// `gateway` is the host's own address among them.
pub async fn open(
    nft: &Nft,
    host: &Namespace,
    tag: &str,
    bridge: &str,
    gateway: Ipv4Addr,
    inside: &[IpNet],
) -> Result<(), Error> {
    nft.apply(host, table(tag, bridge, gateway, inside)).await?;
    if let Some(chain) = dropping_chain(nft, host).await? {
        let there = tagged_rules(
            &nft.list(host, &["chain", "ip", "filter", &chain]).await?,
            tag,
        );
        if there.is_empty() {
            nft.apply(host, exception(&chain, tag, bridge)).await?;
        }
    }
    Ok(())
}

/// Takes the table and the exceptions away.
pub async fn close(nft: &Nft, host: &Namespace, tag: &str) -> Result<(), Error> {
    nft.apply(host, format!("add table ip {tag}\ndelete table ip {tag}\n"))
        .await?;
    for chain in ["DOCKER-USER", "FORWARD"] {
        // Most machines have no such chain; that is the answer then.
        let Ok(listed) = nft.list(host, &["chain", "ip", "filter", chain]).await else {
            continue;
        };
        let script: String = tagged_rules(&listed, tag)
            .iter()
            .map(|handle| format!("delete rule ip filter {chain} handle {handle}\n"))
            .collect();
        if !script.is_empty() {
            nft.apply(host, script).await?;
        }
    }
    Ok(())
}

/// New connections come out of the bridge but not into it: the nodes are this machine's own, not the neighbourhood's.
/// What is only bridged from node to node is no connection of the host's, though it passes here where bridges are filtered (`bridge-nf-call-iptables`):
/// untracked, it meets neither the connections of another instance with the same addresses nor rules that drop what they think invalid.
fn table(tag: &str, bridge: &str, gateway: Ipv4Addr, inside: &[IpNet]) -> String {
    let inside = inside
        .iter()
        .map(IpNet::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "add table ip {tag}\ndelete table ip {tag}\ntable ip {tag} {{\n\
         set inside {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {inside} }}; }}\n\
         chain prerouting {{ type filter hook prerouting priority -300; policy accept;\n\
         iifname \"{bridge}\" ip daddr @inside ip daddr != {gateway} notrack\n}}\n\
         chain postrouting {{ type nat hook postrouting priority 100; policy accept;\n\
         iifname \"{bridge}\" ip saddr @inside oifname != {{ \"{bridge}\", \"lo\" }} masquerade\n}}\n\
         chain forward {{ type filter hook forward priority 0; policy accept;\n\
         oifname \"{bridge}\" iifname != \"{bridge}\" ct state new drop\n}}\n}}\n"
    )
}

fn exception(chain: &str, tag: &str, bridge: &str) -> String {
    format!(
        "insert rule ip filter {chain} iifname \"{bridge}\" accept comment \"{tag}\"\n\
         insert rule ip filter {chain} oifname \"{bridge}\" ct state established,related accept comment \"{tag}\"\n"
    )
}

/// The chain of iptables' `filter` table in which an exception is needed: Docker's own for that purpose, or `FORWARD` if it drops by policy.
async fn dropping_chain(nft: &Nft, host: &Namespace) -> Result<Option<String>, Error> {
    Ok(pick_chain(&nft.list(host, &["chains", "ip"]).await?))
}

fn pick_chain(listed: &[Listed]) -> Option<String> {
    let chain = |wanted: &str, dropping: bool| {
        listed.iter().any(|one| {
            matches!(one, Listed::Chain { table, name, policy } if table == "filter"
                && name == wanted && (!dropping || policy.as_deref() == Some("drop")))
        })
    };
    let docker = chain("DOCKER-USER", false);
    chain("FORWARD", true).then(|| if docker { "DOCKER-USER" } else { "FORWARD" }.to_owned())
}

/// Handles of the rules whose comment is the tag.
fn tagged_rules(listed: &[Listed], tag: &str) -> Vec<u64> {
    let handle = |one: &Listed| match one {
        Listed::Rule {
            comment: Some(comment),
            handle,
        } if comment == tag => Some(*handle),
        _ => None,
    };
    listed.iter().filter_map(handle).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn exceptions_only_where_packets_are_dropped() {
        let chain = |name: &str, policy: Option<&str>| json!({"chain": {"family": "ip", "table": "filter", "name": name, "policy": policy}});
        let cases = [
            (vec![], None),
            (vec![chain("FORWARD", Some("accept"))], None),
            (vec![chain("FORWARD", Some("drop"))], Some("FORWARD")),
            (
                vec![chain("FORWARD", Some("drop")), chain("DOCKER-USER", None)],
                Some("DOCKER-USER"),
            ),
        ];
        for (chains, want) in cases {
            let listed: Vec<Listed> = from_value(chains.into()).unwrap();
            assert_eq!(pick_chain(&listed).as_deref(), want);
        }
    }

    #[test]
    fn every_rule_names_the_bridge() {
        let text = table(
            "skiff-1",
            "br1",
            Ipv4Addr::new(10, 89, 0, 1),
            &[
                "10.89.0.0/24".parse().unwrap(),
                "10.244.0.0/24".parse().unwrap(),
            ],
        );
        let rules = text.lines().filter(|line| {
            ["masquerade", "drop", "notrack"]
                .iter()
                .any(|verdict| line.ends_with(verdict))
        });
        assert_eq!(
            rules.filter(|rule| rule.contains("ifname \"br1\"")).count(),
            3,
            "{text}"
        );
    }

    #[test]
    fn only_tagged_rules_are_ours() {
        let rule =
            |comment: Option<&str>, handle| json!({"rule": {"comment": comment, "handle": handle}});
        let listed = json!([{"metainfo": {"version": "1"}}, {"chain": {"table": "filter", "name": "FORWARD"}},
            rule(Some("skiff-1"), 4), rule(Some("skiff-2"), 5), rule(None, 6)]);
        let listed: Vec<Listed> = from_value(listed).unwrap();
        assert_eq!(tagged_rules(&listed, "skiff-1"), [4]);
    }
}
