//! What nftables holds, as data: tables, chains with their rules, sets and maps with their elements, and the changes of them that are done together.
//!
//! Invariant: nothing here asks the kernel anything. What can be said here, the kernel can be told (`expression.rs`, `encode.rs`) and a person can read
//! (`text.rs`). Follows nft(8).

use std::{net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

/// A name of a table, chain, set or interface; cheap to clone.
pub type Name = Arc<str>;

/// The kinds of packets that a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ip,
    Bridge,
}

/// A table, by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    pub family: Family,
    pub name: Name,
}

impl Table {
    pub fn ip(name: &str) -> Self {
        let (family, name) = (Family::Ip, name.into());
        Table { family, name }
    }

    pub fn bridge(name: &str) -> Self {
        let (family, name) = (Family::Bridge, name.into());
        Table { family, name }
    }
}

/// One part of a key, or of what a map has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Ip(Ipv4Addr),
    /// The number of a protocol above IP.
    Protocol(u8),
    Port(u16),
    /// An interface's name.
    Link(Name),
    EtherType(u16),
    /// Of a packet within its connection: 0 as the first went, 1 back.
    Direction(u8),
    /// A number of the machine's own: an index, an identity.
    Number(u32),
}

/// What a part of a key is, where a set or map is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Ip,
    Protocol,
    Port,
    Link,
    Number,
    /// A number as `numgen` makes it, for maps that stand in a rule.
    Index,
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Source,
    Destination,
}

/// What of a packet is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Its address of version 4.
    Address(Side),
    /// Its port, of whichever protocol.
    Port(Side),
    /// Its port if it is of this protocol, which the rule asks for first.
    PortOf(u8, Side),
    /// The protocol above IP.
    Protocol,
    /// The same by the header of IP version 4.
    IpProtocol,
    /// The interface that it came by, or leaves by.
    Link(Side),
    EtherType,
    ArpSender,
    Mark,
    ConnectionState,
    ConnectionStatus,
    /// 0: as the first of its connection went; 1: back.
    ConnectionDirection,
    /// Whether an address is the machine's own; see [`LOCAL`].
    AddressType(Side),
    /// Evenly one of `0..n`.
    Random(u32),
}

/// `RTN_LOCAL`: an address of the machine's own.
pub const LOCAL: u32 = 2;
/// Bits of [`Field::ConnectionState`].
pub const ESTABLISHED: u32 = 2;
pub const RELATED: u32 = 4;
pub const NEW: u32 = 8;
/// Bit of [`Field::ConnectionStatus`]: the destination was translated.
pub const DNAT: u32 = 0x20;

/// What a field has to be for the rule to go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    Is(Value),
    IsNot(Value),
    /// One of these, by first and last.
    In(Vec<(Value, Value)>),
    NotIn(Vec<(Value, Value)>),
    Within(Ipv4Net),
    Outside(Ipv4Net),
    /// An element of the set.
    InSet(Name),
    NotInSet(Name),
    /// A name that begins so.
    Begins(Name),
    BeginsNot(Name),
    /// Any of these bits is set.
    Has(u32),
    /// None is.
    Lacks(u32),
}

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(Name),
    Goto(Name),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    PortUnreachable,
    HostUnreachable,
    TcpReset,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// The fields, one behind the other, pass the test; a test of more than one field is of a set.
    Match(Vec<Field>, Test),
    /// The verdict that the map has for the fields; the rule goes on if it has none.
    Lookup(Vec<Field>, Name),
    /// To one of these chains, each as often as another.
    GotoAny(Vec<Name>),
    Verdict(Verdict),
    MarkOr(u32),
    MarkXor(u32),
    Masquerade {
        /// By ports that nobody can guess.
        random: bool,
    },
    Reject(Reject),
    /// The packet is of no connection.
    Notrack,
    Dnat(Ipv4Addr, u16),
    /// To one of these, each as often as another.
    DnatAny(Vec<(Ipv4Addr, u16)>),
    /// To the address and port that the map has for the fields; the rule ends if it has none.
    DnatByMap(Vec<Field>, Name),
    /// The sender's address is in the set from now on.
    Remember(Name),
}

/// What is done with packets that pass all tests before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    pub statements: Vec<Statement>,
    pub comment: Option<Name>,
}

impl Rule {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn then(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// All of this, then all of the other.
    pub fn followed_by(mut self, other: Rule) -> Self {
        self.statements.extend(other.statements);
        self
    }

    /// Whether it looks into the set or adds to it.
    pub fn mentions(&self, set: &str) -> bool {
        self.statements.iter().any(|statement| match statement {
            Statement::Match(_, Test::InSet(name) | Test::NotInSet(name))
            | Statement::Remember(name) => &**name == set,
            _ => false,
        })
    }

    pub fn when(self, field: Field, test: Test) -> Self {
        self.then(Statement::Match(vec![field], test))
    }

    pub fn among(self, fields: &[Field], set: &str) -> Self {
        self.then(Statement::Match(fields.to_vec(), Test::InSet(set.into())))
    }

    pub fn lookup(self, fields: &[Field], map: &str) -> Self {
        self.then(Statement::Lookup(fields.to_vec(), map.into()))
    }

    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Statement::Verdict(verdict))
    }

    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    pub fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain.into()))
    }

    pub fn goto(self, chain: impl Into<Name>) -> Self {
        self.verdict(Verdict::Goto(chain.into()))
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(text.into());
        self
    }
}

/// Where a base chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What makes a chain one that packets come to by themselves. All let through what no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// It sees the first packet of each connection and may translate it.
    pub nat: bool,
    pub hook: Hook,
    pub priority: i32,
}

impl Base {
    pub fn nat(hook: Hook, priority: i32) -> Self {
        Base {
            nat: true,
            hook,
            priority,
        }
    }

    pub fn filter(hook: Hook, priority: i32) -> Self {
        Base {
            nat: false,
            hook,
            priority,
        }
    }
}

/// What a map has for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It is a set.
    Nothing,
    Verdicts,
    Values(Vec<Kind>),
}

/// A set or map as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: Name,
    pub key: Vec<Kind>,
    pub holds: Holds,
    /// Its elements are ranges.
    pub ranges: bool,
    /// Rules add to it, and what they added goes after so many seconds.
    pub remembers: Option<u32>,
}

impl Set {
    pub fn new(name: &str, key: &[Kind]) -> Self {
        Set {
            name: name.into(),
            key: key.to_vec(),
            holds: Holds::Nothing,
            ranges: false,
            remembers: None,
        }
    }

    pub fn verdicts(name: &str, key: &[Kind]) -> Self {
        let holds = Holds::Verdicts;
        Set {
            holds,
            ..Set::new(name, key)
        }
    }

    pub fn map(name: &str, key: &[Kind], values: &[Kind]) -> Self {
        let holds = Holds::Values(values.to_vec());
        Set {
            holds,
            ..Set::new(name, key)
        }
    }
}

/// What an element of a map has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    Nothing,
    Verdict(Verdict),
    Values(Vec<Value>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    pub key: Vec<Value>,
    /// The last of a range of which `key` is the first.
    pub last: Option<Value>,
    pub held: Held,
}

impl Element {
    pub fn of(key: Vec<Value>) -> Self {
        Element {
            key,
            last: None,
            held: Held::Nothing,
        }
    }

    pub fn verdict(key: Vec<Value>, verdict: Verdict) -> Self {
        let held = Held::Verdict(verdict);
        Element {
            held,
            ..Element::of(key)
        }
    }

    pub fn values(key: Vec<Value>, values: Vec<Value>) -> Self {
        let held = Held::Values(values);
        Element {
            held,
            ..Element::of(key)
        }
    }

    pub fn network(net: Ipv4Net) -> Self {
        let last = Some(Value::Ip(net.broadcast()));
        Element {
            last,
            ..Element::of(vec![Value::Ip(net.network())])
        }
    }
}

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing happens where it is there; so it is with chains and sets.
    AddTable {
        comment: Option<&'static str>,
    },
    DeleteTable,
    AddChain(Name, Option<Base>),
    FlushChain(Name),
    DeleteChain(Name),
    /// Behind the others.
    AddRule(Name, Rule),
    /// Before the others.
    InsertRule(Name, Rule),
    /// By its handle.
    DeleteRule(Name, u64),
    AddSet(Set),
    DeleteSet(Name),
    AddElements(Name, Vec<Element>),
    /// Of elements only the keys matter.
    DeleteElements(Name, Vec<Element>),
}

/// Changes that are done all together, or not at all; each sees those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: Vec<(Table, Change)>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn push(&mut self, table: &Table, change: Change) {
        self.changes.push((table.clone(), change));
    }

    pub fn append(&mut self, mut other: Batch) {
        self.changes.append(&mut other.changes);
    }

    /// The table goes, if it is there.
    pub fn clear(&mut self, table: &Table) {
        self.push(table, Change::AddTable { comment: None });
        self.push(table, Change::DeleteTable);
    }

    /// The table is there, and empty.
    pub fn renew(&mut self, table: &Table, comment: Option<&'static str>) {
        self.clear(table);
        self.push(table, Change::AddTable { comment });
    }

    /// Whatever `table` is, cleared.
    pub fn cleared(table: &Table) -> Self {
        let mut batch = Batch::new();
        batch.clear(table);
        batch
    }

    pub fn set(&mut self, table: &Table, set: Set) {
        self.push(table, Change::AddSet(set));
    }

    /// A set of these networks, whichever of them lie in others.
    pub fn networks<'a>(
        &mut self,
        table: &Table,
        name: &str,
        networks: impl IntoIterator<Item = &'a Ipv4Net>,
    ) {
        let ranges = true;
        self.set(
            table,
            Set {
                ranges,
                ..Set::new(name, &[Kind::Ip])
            },
        );
        // The kernel takes no ranges that overlap.
        let networks: Vec<_> = networks.into_iter().map(Ipv4Net::trunc).collect();
        let elements = Ipv4Net::aggregate(&networks);
        let elements: Vec<_> = elements.into_iter().map(Element::network).collect();
        if !elements.is_empty() {
            self.push(table, Change::AddElements(name.into(), elements));
        }
    }

    /// A chain with its rules.
    pub fn chain(&mut self, table: &Table, name: &str, base: Option<Base>, rules: Vec<Rule>) {
        let name = Name::from(name);
        self.push(table, Change::AddChain(name.clone(), base));
        for rule in rules {
            self.push(table, Change::AddRule(name.clone(), rule));
        }
    }
}
