//! The way from a cluster's nodes to the world outside of the host, and what keeps the world out: one nftables table an instance and
//! family, and where another program's table drops forwarded packets (Docker, ufw), an exception in it.
//!
//! Invariant: everything here bears the instance's tag, as the table's name or as the rule's comment, and `close` finds it by that. No rule concerns
//! what does not pass the instance's own bridge: others on this host may have the same addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Error,
    family::IpFamily,
    nft::{
        Base, Batch, Change, ESTABLISHED, Field, Hook, ListedChain, ListedRule, NEW, Nft, RELATED,
        Rule, Side, Statement, Table, Test, Value,
    },
};

/// The table of iptables in which exceptions are made.
const FILTER: &str = "filter";
const IN: Field = Field::Link(Side::Source);
const OUT: Field = Field::Link(Side::Destination);

/// Puts the table in place, whole. `inside` is what lies behind the bridge: those addresses are hidden behind the host's own when they leave.
/// `gateway` is the host's own address among them, whose family it is done for.
pub async fn open(
    nft: &Nft,
    tag: &str,
    bridge: &str,
    gateway: IpAddr,
    inside: &[IpNet],
) -> Result<(), Error> {
    let family = IpFamily::of(gateway);
    nft.apply(table(tag, bridge, gateway, &family.networks(inside)))
        .await?;
    let filter = family.table(FILTER);
    if let Some(chain) = pick_chain(&nft.chains(filter.family).await?) {
        let there = tagged_rules(&nft.rules(&filter, &chain).await?, tag);
        if there.is_empty() {
            nft.apply(exception(&filter, &chain, tag, bridge)).await?;
        }
    }
    Ok(())
}

/// Takes the table and the exceptions away.
pub async fn close(nft: &Nft, tag: &str) -> Result<(), Error> {
    nft.clear_both(tag).await?;
    let mut batch = Batch::new();
    for filter in IpFamily::ALL.map(|family| family.table(FILTER)) {
        for chain in ["DOCKER-USER", "FORWARD"] {
            for handle in tagged_rules(&nft.rules(&filter, chain).await?, tag) {
                batch.push(&filter, Change::DeleteRule(chain.into(), handle));
            }
        }
    }
    nft.apply(batch).await
}

/// New connections come out of the bridge but not into it: the nodes are this machine's own, not the neighbourhood's.
/// What is only bridged from node to node is no connection of the host's, though it passes here where bridges are filtered (`bridge-nf-call-iptables`):
/// untracked, it meets neither the connections of another instance with the same addresses nor rules that drop what they think invalid.
fn table(tag: &str, bridge: &str, gateway: IpAddr, inside: &[IpNet]) -> Batch {
    let family = IpFamily::of(gateway);
    let table = family.table(tag);
    let mut batch = Batch::new();
    batch.renew(&table, None);
    batch.networks(&table, "inside", family, inside);
    let link = |name: &str| Value::Link(name.into());
    let (from, to) = (
        Field::Address(family, Side::Source),
        Field::Address(family, Side::Destination),
    );
    let bridged = Rule::new()
        .when(IN, Test::Is(link(bridge)))
        .among(std::slice::from_ref(&to), "inside")
        .when(to, Test::IsNot(Value::Ip(gateway)))
        .then(Statement::Notrack);
    let base = Some(Base::filter(Hook::Prerouting, -300));
    batch.chain(&table, "prerouting", base, vec![bridged]);
    let own = [link(bridge), link("lo")].map(|link| (link.clone(), link));
    let leaves = Rule::new()
        .when(IN, Test::Is(link(bridge)))
        .among(&[from], "inside")
        .when(OUT, Test::NotIn(own.to_vec()))
        .then(Statement::Masquerade { random: false });
    let base = Some(Base::nat(Hook::Postrouting, 100));
    batch.chain(&table, "postrouting", base, vec![leaves]);
    let comes = Rule::new()
        .when(OUT, Test::Is(link(bridge)))
        .when(IN, Test::IsNot(link(bridge)))
        .when(Field::ConnectionState, Test::Has(NEW))
        .drop();
    let base = Some(Base::filter(Hook::Forward, 0));
    batch.chain(&table, "forward", base, vec![comes]);
    batch
}

fn exception(filter: &Table, chain: &str, tag: &str, bridge: &str) -> Batch {
    let link = || Test::Is(Value::Link(bridge.into()));
    let answers = Test::Has(ESTABLISHED | RELATED);
    let rules = [
        Rule::new().when(IN, link()).accept(),
        Rule::new()
            .when(OUT, link())
            .when(Field::ConnectionState, answers)
            .accept(),
    ];
    let mut batch = Batch::new();
    for rule in rules {
        let change = Change::InsertRule(chain.into(), rule.comment(tag));
        batch.push(filter, change);
    }
    batch
}

/// The chain of iptables' `filter` table in which an exception is needed: Docker's own for that purpose, or `FORWARD` if it drops by policy.
fn pick_chain(listed: &[ListedChain]) -> Option<String> {
    let filter = || listed.iter().filter(|chain| chain.table == FILTER);
    let drops = filter().any(|chain| chain.name == "FORWARD" && chain.drops);
    let docker = filter().any(|chain| chain.name == "DOCKER-USER");
    drops.then(|| if docker { "DOCKER-USER" } else { "FORWARD" }.to_owned())
}

/// Handles of the rules whose comment is the tag.
fn tagged_rules(listed: &[ListedRule], tag: &str) -> Vec<u64> {
    let tagged = listed
        .iter()
        .filter(|rule| rule.comment.as_deref() == Some(tag));
    tagged.map(|rule| rule.handle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_only_where_packets_are_dropped() {
        let chain = |name: &str, drops| ListedChain {
            table: "filter".into(),
            name: name.into(),
            drops,
        };
        let cases = [
            (vec![], None),
            (vec![chain("FORWARD", false)], None),
            (vec![chain("FORWARD", true)], Some("FORWARD")),
            (
                vec![chain("FORWARD", true), chain("DOCKER-USER", false)],
                Some("DOCKER-USER"),
            ),
        ];
        for (chains, want) in cases {
            assert_eq!(pick_chain(&chains).as_deref(), want);
        }
    }

    #[test]
    fn every_rule_names_the_bridge() {
        for (gateway, inside) in [
            ("10.89.0.1", ["10.89.0.0/24", "10.244.0.0/24"]),
            ("fd89::1", ["fd89::/64", "fd00:244::/64"]),
        ] {
            let inside = inside.map(|net| net.parse().unwrap());
            names_the_bridge(&table("skiff-1", "br1", gateway.parse().unwrap(), &inside));
        }
    }

    fn names_the_bridge(table: &Batch) {
        let text = table.to_string();
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
        let rule = |comment: Option<&str>, handle| ListedRule {
            handle,
            comment: comment.map(str::to_owned),
        };
        let listed = [
            rule(Some("skiff-1"), 4),
            rule(Some("skiff-2"), 5),
            rule(None, 6),
        ];
        assert_eq!(tagged_rules(&listed, "skiff-1"), [4]);
    }
}
