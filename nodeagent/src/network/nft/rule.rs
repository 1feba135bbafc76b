//! What a rule looks at in a packet, and what it does with it, as data.
//!
//! Invariant: nothing here asks the kernel anything. What can be said here, the kernel can be told (`expression.rs`) and a person can read (`text.rs`).
//! Follows nft(8).

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::super::family::IpFamily;

/// A name of a table, chain, set or interface; cheap to clone.
pub type Name = Arc<str>;

/// One part of a key, or of what a map has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Ip(IpAddr),
    /// The number of a protocol above IP.
    Protocol(u8),
    Port(u16),
    /// What a message of ICMP is.
    IcmpType(u8),
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
    Ip(IpFamily),
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
    /// Its address, where it is of that family: a table of another family asks for that first.
    Address(IpFamily, Side),
    /// Its port, of whichever protocol.
    Port(Side),
    /// Its port if it is of this protocol, which the rule asks for first.
    PortOf(u8, Side),
    /// The protocol above IP.
    Protocol,
    /// The same by the header of IP version 4.
    IpProtocol,
    /// What a message of ICMP is, whose protocol the rule asks for first.
    IcmpType,
    /// Whose hardware address a neighbour of IPv6 asks for or tells of, in messages that are known to be such.
    Neighbour,
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
    Within(IpNet),
    Outside(IpNet),
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
    PortUnreachable(IpFamily),
    HostUnreachable(IpFamily),
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
    Dnat(IpAddr, u16),
    /// To one of these of one family, each as often as another.
    DnatAny(IpFamily, Vec<(IpAddr, u16)>),
    /// To the address, of that family, and port that the map has for the fields; the rule ends if it has none.
    DnatByMap(IpFamily, Vec<Field>, Name),
    /// The sender's address is in the set from now on.
    Remember(IpFamily, Name),
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
            | Statement::Remember(_, name) => &**name == set,
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
