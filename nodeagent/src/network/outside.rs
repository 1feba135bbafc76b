//! The way from a cluster's nodes to the world outside of the host, and what keeps the world out: one nftables table an instance, and where another
//! program's table drops forwarded packets (Docker, ufw), an exception in it.
//!
//! Invariant: everything here bears the instance's tag, as the table's name or as the rule's comment, and `close` finds it by that.

use ipnet::IpNet;

use super::{Error, nft::Nft, ns::Namespace};

/// Puts the table in place, whole. `inside` is what lies behind the bridge: those addresses are hidden behind the host's own when they leave.
pub async fn open(nft: &Nft, host: &Namespace, tag: &str, bridge: &str, inside: &[IpNet]) -> Result<(), Error> {
    nft.apply(host, table(tag, bridge, inside)).await?;
    if let Some(chain) = dropping_chain(nft, host).await? {
        let there = tagged_rules(&nft.list(host, &["chain", "ip", "filter", &chain]).await?, tag);
        if there.is_empty() {
            nft.apply(host, exception(&chain, tag, bridge)).await?;
        }
    }
    Ok(())
}

/// Takes the table and the exceptions away.
pub async fn close(nft: &Nft, host: &Namespace, tag: &str) -> Result<(), Error> {
    nft.apply(host, format!("add table ip {tag}\ndelete table ip {tag}\n")).await?;
    for chain in ["DOCKER-USER", "FORWARD"] {
        // Most machines have no such chain; that is the answer then.
        let Ok(listed) = nft.list(host, &["chain", "ip", "filter", chain]).await else { continue };
        let script: String = tagged_rules(&listed, tag).iter().map(|handle| format!("delete rule ip filter {chain} handle {handle}\n")).collect();
        if !script.is_empty() {
            nft.apply(host, script).await?;
        }
    }
    Ok(())
}

/// New connections come out of the bridge but not into it: the nodes are this machine's own, not the neighbourhood's.
fn table(tag: &str, bridge: &str, inside: &[IpNet]) -> String {
    let inside = inside.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "add table ip {tag}\ndelete table ip {tag}\ntable ip {tag} {{\n\
         set inside {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {inside} }}; }}\n\
         chain postrouting {{ type nat hook postrouting priority 100; policy accept;\n\
         ip saddr @inside oifname != {{ \"{bridge}\", \"lo\" }} masquerade\n}}\n\
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

fn pick_chain(listed: &serde_json::Value) -> Option<String> {
    let entries = listed["nftables"].as_array()?;
    let chains = || entries.iter().map(|e| &e["chain"]).filter(|c| c["table"] == "filter");
    let drops = chains().any(|c| c["name"] == "FORWARD" && c["policy"] == "drop");
    let docker = chains().any(|c| c["name"] == "DOCKER-USER");
    drops.then(|| if docker { "DOCKER-USER" } else { "FORWARD" }.to_owned())
}

/// Handles of the rules whose comment is the tag.
fn tagged_rules(listed: &serde_json::Value, tag: &str) -> Vec<u64> {
    let entries = listed["nftables"].as_array().into_iter().flatten();
    entries.map(|e| &e["rule"]).filter(|r| r["comment"] == tag).filter_map(|r| r["handle"].as_u64()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exceptions_only_where_packets_are_dropped() {
        let chain = |name: &str, policy: Option<&str>| json!({"chain": {"family": "ip", "table": "filter", "name": name, "policy": policy}});
        let cases = [
            (vec![], None),
            (vec![chain("FORWARD", Some("accept"))], None),
            (vec![chain("FORWARD", Some("drop"))], Some("FORWARD")),
            (vec![chain("FORWARD", Some("drop")), chain("DOCKER-USER", None)], Some("DOCKER-USER")),
        ];
        for (chains, want) in cases {
            assert_eq!(pick_chain(&json!({ "nftables": chains })).as_deref(), want);
        }
    }

    #[test]
    fn only_tagged_rules_are_ours() {
        let listed =
            json!({"nftables": [{"rule": {"comment": "skiff-1", "handle": 4}}, {"rule": {"comment": "skiff-2", "handle": 5}}, {"rule": {"handle": 6}}]});
        assert_eq!(tagged_rules(&listed, "skiff-1"), [4]);
    }
}
