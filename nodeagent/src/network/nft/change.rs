//! What nftables holds around rules, as data: tables, chains, sets and maps with their elements, and the changes of them that are done together.
//!
//! Invariant: nothing here asks the kernel anything. What can be said here, the kernel can be told (`encode.rs`) and a person can read (`text.rs`).
//! A batch has no change that is none. Follows nft(8).

use ipnet::IpNet;

use super::{
    super::family::IpFamily,
    rule::{Kind, Name, Rule, Value, Verdict},
};

/// The kinds of packets that a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ip,
    Ip6,
    Bridge,
}

/// A table, by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    pub family: Family,
    pub name: Name,
}

impl IpFamily {
    /// The table of nftables that sees this family's packets.
    pub fn table(self, name: &str) -> Table {
        let family = match self {
            IpFamily::V4 => Family::Ip,
            IpFamily::V6 => Family::Ip6,
        };
        let name = name.into();
        Table { family, name }
    }
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

    pub fn network(net: IpNet) -> Self {
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

    /// Elements of which there are none are no change.
    pub fn push(&mut self, table: &Table, change: Change) {
        if let Change::AddElements(_, all) | Change::DeleteElements(_, all) = &change
            && all.is_empty()
        {
            return;
        }
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

    /// A set of these networks, all of that family, whichever of them lie in others.
    pub fn networks<'a>(
        &mut self,
        table: &Table,
        name: &str,
        family: IpFamily,
        networks: impl IntoIterator<Item = &'a IpNet>,
    ) {
        let ranges = true;
        self.set(
            table,
            Set {
                ranges,
                ..Set::new(name, &[Kind::Ip(family)])
            },
        );
        // The kernel takes no ranges that overlap.
        let networks: Vec<_> = networks.into_iter().map(IpNet::trunc).collect();
        let elements = IpNet::aggregate(&networks);
        let elements = elements.into_iter().map(Element::network).collect();
        self.push(table, Change::AddElements(name.into(), elements));
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
