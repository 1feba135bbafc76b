//! Tables and their changes as a person reads them, and as the program `nft` takes them.
//!
//! Invariant: what is written here says the same as what the kernel is told (`encode.rs`). Follows nft(8).

use std::{
    fmt::{Display, Formatter, Result},
    net::SocketAddr,
};

use super::{
    super::family::IpFamily,
    change::{Base, Batch, Change, Element, Family, Held, Holds, Hook, Set, Table},
    rule::{
        DNAT, ESTABLISHED, Field, Kind, LOCAL, NEW, RELATED, Reject, Rule, Side, Statement, Test,
        Value, Verdict,
    },
};

/// Things with something between them.
fn join<T: Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    let texts: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(between)
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Bridge => "bridge",
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// A protocol's name, or its number where it has none here.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        other => other.to_string(),
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Value::Ip(ip) => write!(f, "{ip}"),
            Value::Protocol(number) => f.write_str(&protocol(*number)),
            Value::Port(port) => write!(f, "{port}"),
            Value::Link(name) => write!(f, "\"{name}\""),
            Value::EtherType(0x0800) => f.write_str("ip"),
            Value::EtherType(0x0806) => f.write_str("arp"),
            Value::EtherType(0x86dd) => f.write_str("ip6"),
            Value::EtherType(number) => write!(f, "{number:#x}"),
            Value::IcmpType(135) => f.write_str("nd-neighbor-solicit"),
            Value::IcmpType(136) => f.write_str("nd-neighbor-advert"),
            Value::IcmpType(number) => write!(f, "{number}"),
            Value::Direction(0) => f.write_str("original"),
            Value::Direction(_) => f.write_str("reply"),
            Value::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Kind::Ip(IpFamily::V4) => "ipv4_addr",
            Kind::Ip(IpFamily::V6) => "ipv6_addr",
            Kind::Protocol => "inet_proto",
            Kind::Port => "inet_service",
            Kind::Link => "ifname",
            Kind::Number => "mark",
            Kind::Index => "integer",
        })
    }
}

impl Side {
    fn letter(self) -> char {
        match self {
            Side::Source => 's',
            Side::Destination => 'd',
        }
    }
}

/// What headers of a family are called.
fn header(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ip",
        IpFamily::V6 => "ip6",
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Field::Address(family, side) => write!(f, "{} {}addr", header(*family), side.letter()),
            Field::Port(side) => write!(f, "th {}port", side.letter()),
            Field::PortOf(of, side) => write!(f, "{} {}port", protocol(*of), side.letter()),
            Field::Protocol => f.write_str("meta l4proto"),
            Field::IpProtocol => f.write_str("ip protocol"),
            Field::IcmpType => f.write_str("icmpv6 type"),
            Field::Neighbour => f.write_str("icmpv6 taddr"),
            Field::Link(Side::Source) => f.write_str("iifname"),
            Field::Link(Side::Destination) => f.write_str("oifname"),
            Field::EtherType => f.write_str("ether type"),
            Field::ArpSender => f.write_str("arp saddr ip"),
            Field::Mark => f.write_str("meta mark"),
            Field::ConnectionState => f.write_str("ct state"),
            Field::ConnectionStatus => f.write_str("ct status"),
            Field::ConnectionDirection => f.write_str("ct direction"),
            Field::AddressType(side) => write!(f, "fib {}addr type", side.letter()),
            Field::Random(count) => write!(f, "numgen random mod {count}"),
        }
    }
}

/// Ranges in braces.
fn ranges(all: &[(Value, Value)]) -> String {
    let one = |(first, last): &(Value, Value)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    format!("{{ {} }}", join(all.iter().map(one), ", "))
}

/// The bits of a field, by their names where it has names for them.
fn bits(field: Option<&Field>, bits: u32) -> Option<String> {
    let names: &[(u32, &str)] = match field {
        Some(Field::ConnectionState) => &[
            (ESTABLISHED, "established"),
            (RELATED, "related"),
            (NEW, "new"),
        ],
        Some(Field::ConnectionStatus) => &[(DNAT, "dnat")],
        _ => return None,
    };
    let set = names.iter().filter(|(bit, _)| bits & bit != 0);
    Some(join(set.map(|(_, name)| name), ","))
}

/// A value as a field has it.
fn value(field: Option<&Field>, value: &Value) -> String {
    match (field, value) {
        (Some(Field::AddressType(_)), Value::Number(LOCAL)) => "local".into(),
        _ => value.to_string(),
    }
}

fn tested(fields: &[Field], test: &Test) -> String {
    let field = fields.first();
    let test = match test {
        Test::Is(one) => value(field, one),
        Test::IsNot(one) => format!("!= {}", value(field, one)),
        Test::In(all) => ranges(all),
        Test::NotIn(all) => format!("!= {}", ranges(all)),
        Test::Within(net) => net.to_string(),
        Test::Outside(net) => format!("!= {net}"),
        Test::InSet(name) => format!("@{name}"),
        Test::NotInSet(name) => format!("!= @{name}"),
        Test::Begins(name) => format!("\"{name}*\""),
        Test::BeginsNot(name) => format!("!= \"{name}*\""),
        Test::Has(mask) => bits(field, *mask).unwrap_or_else(|| format!("and {mask:#x} != 0")),
        Test::Lacks(mask) => format!("and {mask:#x} == 0"),
    };
    format!("{} {test}", join(fields, " . "))
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Return => f.write_str("return"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Statement::Match(fields, test) => f.write_str(&tested(fields, test)),
            Statement::Lookup(fields, map) => write!(f, "{} vmap @{map}", join(fields, " . ")),
            Statement::GotoAny(chains) => {
                let numbered = chains.iter().enumerate();
                let all = numbered.map(|(index, chain)| format!("{index} : goto {chain}"));
                let count = chains.len();
                write!(
                    f,
                    "numgen random mod {count} vmap {{ {} }}",
                    join(all, ", ")
                )
            }
            Statement::Verdict(verdict) => write!(f, "{verdict}"),
            Statement::MarkOr(mask) => write!(f, "meta mark set meta mark or {mask:#x}"),
            Statement::MarkXor(mask) => write!(f, "meta mark set meta mark xor {mask:#x}"),
            Statement::Masquerade { random: true } => f.write_str("masquerade fully-random"),
            Statement::Masquerade { random: false } => f.write_str("masquerade"),
            Statement::Reject(Reject::PortUnreachable(_)) => f.write_str("reject"),
            Statement::Reject(Reject::HostUnreachable(IpFamily::V4)) => {
                f.write_str("reject with icmp type host-unreachable")
            }
            Statement::Reject(Reject::HostUnreachable(IpFamily::V6)) => {
                f.write_str("reject with icmpv6 type addr-unreachable")
            }
            Statement::Reject(Reject::TcpReset) => f.write_str("reject with tcp reset"),
            Statement::Notrack => f.write_str("notrack"),
            Statement::Dnat(ip, port) => write!(f, "dnat to {}", SocketAddr::new(*ip, *port)),
            Statement::DnatAny(family, places) => {
                let numbered = places.iter().enumerate();
                let all = numbered.map(|(index, (ip, port))| format!("{index} : {ip} . {port}"));
                let count = places.len();
                write!(
                    f,
                    "dnat {} addr . port to numgen random mod {count} map {{ {} }}",
                    header(*family),
                    join(all, ", ")
                )
            }
            Statement::DnatByMap(family, fields, map) => {
                let key = join(fields, " . ");
                let header = header(*family);
                write!(f, "dnat {header} addr . port to {key} map @{map}")
            }
            Statement::Remember(family, set) => {
                write!(f, "update @{set} {{ {} saddr }}", header(*family))
            }
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&join(&self.statements, " "))?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        })
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let kind = if self.nat { "nat" } else { "filter" };
        let Base { hook, priority, .. } = self;
        write!(
            f,
            "type {kind} hook {hook} priority {priority}; policy accept;"
        )
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let key = join(&self.key, " . ");
        match &self.holds {
            Holds::Nothing => write!(f, "type {key};")?,
            Holds::Verdicts => write!(f, "type {key} : verdict;")?,
            Holds::Values(kinds) => write!(f, "type {key} : {};", join(kinds, " . "))?,
        }
        if self.ranges {
            f.write_str(" flags interval;")?;
        }
        match self.remembers {
            Some(seconds) => write!(f, " flags dynamic,timeout; timeout {seconds}s;"),
            None => Ok(()),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&join(&self.key, " . "))?;
        if let Some(last) = &self.last {
            write!(f, "-{last}")?;
        }
        match &self.held {
            Held::Nothing => Ok(()),
            Held::Verdict(verdict) => write!(f, " : {verdict}"),
            Held::Values(values) => write!(f, " : {}", join(values, " . ")),
        }
    }
}

/// A change of a table as a command.
pub fn command(table: &Table, change: &Change) -> String {
    let keys = |elements: &[Element]| join(elements.iter().map(|e| join(&e.key, " . ")), ", ");
    match change {
        Change::AddTable { comment: None } => format!("add table {table}"),
        Change::AddTable {
            comment: Some(text),
        } => format!("add table {table} {{ comment \"{text}\"; }}"),
        Change::DeleteTable => format!("delete table {table}"),
        Change::AddChain(name, None) => format!("add chain {table} {name}"),
        Change::AddChain(name, Some(base)) => format!("add chain {table} {name} {{ {base} }}"),
        Change::FlushChain(name) => format!("flush chain {table} {name}"),
        Change::DeleteChain(name) => format!("delete chain {table} {name}"),
        Change::AddRule(chain, rule) => format!("add rule {table} {chain} {rule}"),
        Change::InsertRule(chain, rule) => format!("insert rule {table} {chain} {rule}"),
        Change::DeleteRule(chain, handle) => format!("delete rule {table} {chain} handle {handle}"),
        Change::AddSet(set) => {
            let word = if set.holds == Holds::Nothing {
                "set"
            } else {
                "map"
            };
            format!("add {word} {table} {} {{ {set} }}", set.name)
        }
        Change::DeleteSet(name) => format!("delete set {table} {name}"),
        Change::AddElements(set, elements) => {
            format!("add element {table} {set} {{ {} }}", join(elements, ", "))
        }
        Change::DeleteElements(set, elements) => {
            format!("delete element {table} {set} {{ {} }}", keys(elements))
        }
    }
}

impl Display for Batch {
    /// A line a change.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (table, change) in &self.changes {
            writeln!(f, "{}", command(table, change))?;
        }
        Ok(())
    }
}
