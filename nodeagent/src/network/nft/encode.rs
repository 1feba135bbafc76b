//! A batch as the kernel takes it: one datagram with a message a change, and the requests that ask what is there.
//!
//! Invariant: the message with the number `n` is of the batch's change `n - 1`, so that an error names the change; only the last asks to be acknowledged.
//! Follows `include/uapi/linux/netfilter/{nf_tables,nfnetlink}.h` of the kernel.

use super::{
    super::wire::{ACK, APPEND, CREATE, DUMP, Writer},
    expression::{Anonymous, expressions},
    model::{
        Base, Batch, Change, Element, Family, Held, Holds, Hook, Kind, Rule, Set, Table, Value,
        Verdict,
    },
};

const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Types of messages.
pub mod message {
    use super::NFTABLES;

    pub const NEW_TABLE: u16 = NFTABLES << 8;
    pub const GET_TABLE: u16 = NFTABLES << 8 | 1;
    pub const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
    pub const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
    pub const GET_CHAIN: u16 = NFTABLES << 8 | 4;
    pub const DELETE_CHAIN: u16 = NFTABLES << 8 | 5;
    pub const NEW_RULE: u16 = NFTABLES << 8 | 6;
    pub const GET_RULE: u16 = NFTABLES << 8 | 7;
    pub const DELETE_RULE: u16 = NFTABLES << 8 | 8;
    pub const NEW_SET: u16 = NFTABLES << 8 | 9;
    pub const DELETE_SET: u16 = NFTABLES << 8 | 11;
    pub const NEW_ELEMENT: u16 = NFTABLES << 8 | 12;
    pub const DELETE_ELEMENT: u16 = NFTABLES << 8 | 14;
}

/// Attributes of tables, chains, rules, sets and elements.
pub mod attribute {
    pub const LIST_ELEMENT: u16 = 1;

    /// In messages about chains, rules, sets and elements it is the first attribute, too.
    pub const TABLE_NAME: u16 = 1;
    pub const TABLE_USERDATA: u16 = 6;

    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;

    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;

    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LEN: u16 = 5;
    pub const SET_DATA_TYPE: u16 = 6;
    pub const SET_DATA_LEN: u16 = 7;
    pub const SET_DESCRIPTION: u16 = 9;
    pub const SET_ID: u16 = 10;
    pub const SET_TIMEOUT: u16 = 11;
    pub const SET_USERDATA: u16 = 13;
    pub const DESCRIPTION_SIZE: u16 = 1;

    pub const ELEMENTS_SET: u16 = 2;
    pub const ELEMENTS: u16 = 3;
    pub const ELEMENTS_SET_ID: u16 = 4;
    pub const ELEMENT_KEY: u16 = 1;
    pub const ELEMENT_DATA: u16 = 2;
    pub const ELEMENT_FLAGS: u16 = 3;

    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
}
use attribute as a;

/// Flags of sets, and of elements.
mod flag {
    pub const ANONYMOUS: u32 = 1;
    pub const CONSTANT: u32 = 2;
    pub const INTERVAL: u32 = 4;
    pub const MAP: u32 = 8;
    pub const TIMEOUT: u32 = 0x10;
    pub const DYNAMIC: u32 = 0x20;
    pub const INTERVAL_END: u32 = 1;
}

/// The data type of maps to verdicts.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// What the program `nft` keeps beside a set: the order of a key's bytes, which here is the machine's own.
const KEY_BYTE_ORDER: u8 = 0;
const HOST_ORDER: u32 = 1;
/// How many elements go into one message: an attribute has at most 64 KB.
const ELEMENTS_A_MESSAGE: usize = 500;

impl Family {
    pub fn number(self) -> u8 {
        match self {
            Family::Ip => 2,
            Family::Bridge => 7,
        }
    }
}

impl Kind {
    /// (number of the type in the program `nft`, bytes).
    fn numbers(self) -> (u32, u32) {
        match self {
            Kind::Ip => (7, 4),
            Kind::Protocol => (12, 1),
            Kind::Port => (13, 2),
            Kind::Link => (41, 16),
            Kind::Number => (19, 4),
            Kind::Index => (4, 4),
        }
    }
}

impl Value {
    pub fn kind(&self) -> Kind {
        match self {
            Value::Ip(_) => Kind::Ip,
            Value::Protocol(_) => Kind::Protocol,
            Value::Port(_) => Kind::Port,
            Value::Link(_) => Kind::Link,
            Value::EtherType(_) | Value::Direction(_) | Value::Number(_) => Kind::Number,
        }
    }

    /// What comes behind it in a range; nothing behind the last.
    fn next(&self) -> Option<Value> {
        match self {
            Value::Ip(ip) => u32::from(*ip).checked_add(1).map(|ip| Value::Ip(ip.into())),
            Value::Port(port) => port.checked_add(1).map(Value::Port),
            Value::Protocol(number) => number.checked_add(1).map(Value::Protocol),
            Value::Link(_) | Value::EtherType(_) | Value::Direction(_) | Value::Number(_) => None,
        }
    }
}

/// A value by itself.
pub fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Ip(ip) => ip.octets().to_vec(),
        Value::Protocol(number) | Value::Direction(number) => vec![*number],
        Value::Port(port) => port.to_be_bytes().to_vec(),
        Value::Link(name) => {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        }
        Value::EtherType(number) => number.to_be_bytes().to_vec(),
        Value::Number(number) => number.to_ne_bytes().to_vec(),
    }
}

/// One value as it is, several each filled up to four bytes.
fn together(values: &[Value]) -> Vec<u8> {
    if let [only] = values {
        return value_bytes(only);
    }
    let mut all = Vec::with_capacity(4 * values.len());
    for value in values {
        all.extend(value_bytes(value));
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}

/// (type, bytes) of a key or value of these parts.
fn described(kinds: &[Kind]) -> (u32, u32) {
    if let [only] = kinds {
        return only.numbers();
    }
    kinds.iter().fold((0, 0), |(kind, length), one| {
        let (number, bytes) = one.numbers();
        (kind << 6 | number, length + bytes.next_multiple_of(4))
    })
}

pub fn put_data(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nest(kind, |w| w.attribute(a::DATA_VALUE, bytes));
}

pub fn put_verdict(w: &mut Writer, kind: u16, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5_i32, None),
    };
    w.nest(kind, |w| {
        w.nest(a::DATA_VERDICT, |w| {
            w.attribute(a::VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                w.text(a::VERDICT_CHAIN, chain);
            }
        });
    });
}

/// A batch as one datagram, and the number of its last message.
pub fn batch(batch: &Batch) -> (Vec<u8>, u32) {
    let mut encoder = Encoder {
        writer: Writer::default(),
        sequence: 0,
        last: 0,
        ids: 0,
    };
    encoder.bracket(BATCH_BEGIN);
    for (index, (table, change)) in batch.changes.iter().enumerate() {
        encoder.sequence = number(index + 1);
        encoder.change(table, change);
    }
    encoder.acknowledge_last();
    encoder.sequence += 1;
    encoder.bracket(BATCH_END);
    (encoder.writer.bytes, number(batch.changes.len()))
}

/// One question; without a table it is about all.
pub fn request(kind: u16, all: bool, table: &Table, chain: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::default();
    let flags = if all { DUMP } else { ACK };
    writer.message((kind, flags, 1), (table.family.number(), 0), |w| {
        if table.name.is_empty() {
            return;
        }
        w.text(a::TABLE_NAME, &table.name);
        if let Some(chain) = chain {
            let attribute = if kind == message::GET_RULE {
                a::RULE_CHAIN
            } else {
                a::CHAIN_NAME
            };
            w.text(attribute, chain);
        }
    });
    writer.bytes
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a batch has fewer changes than that")
}

struct Encoder {
    writer: Writer,
    sequence: u32,
    /// Where the last message begins.
    last: usize,
    /// The last id of a set that was given out.
    ids: u32,
}

impl Encoder {
    fn bracket(&mut self, kind: u16) {
        self.writer
            .message((kind, 0, self.sequence), (0, NFTABLES), |_| {});
    }

    /// What was done before it was done, too, or it was not either.
    fn acknowledge_last(&mut self) {
        if self.last > 0 {
            let flags = &mut self.writer.bytes[self.last + 6..self.last + 8];
            let with = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&with.to_ne_bytes());
        }
    }

    fn message(
        &mut self,
        (kind, flags): (u16, u16),
        table: &Table,
        body: impl FnOnce(&mut Writer),
    ) {
        self.last = self.writer.bytes.len();
        let head = (kind, flags, self.sequence);
        self.writer.message(head, (table.family.number(), 0), |w| {
            w.text(a::TABLE_NAME, &table.name);
            body(w);
        });
    }

    fn change(&mut self, table: &Table, change: &Change) {
        use message as m;
        match change {
            Change::AddTable { comment } => self.message((m::NEW_TABLE, CREATE), table, |w| {
                if let Some(text) = comment {
                    w.attribute(a::TABLE_USERDATA, &userdata_text(text));
                }
            }),
            Change::DeleteTable => self.message((m::DELETE_TABLE, 0), table, |_| {}),
            Change::AddChain(name, base) => self.message((m::NEW_CHAIN, CREATE), table, |w| {
                w.text(a::CHAIN_NAME, name);
                if let Some(base) = base {
                    put_base(w, *base);
                }
            }),
            Change::DeleteChain(name) => self.message((m::DELETE_CHAIN, 0), table, |w| {
                w.text(a::CHAIN_NAME, name);
            }),
            Change::FlushChain(name) => self.message((m::DELETE_RULE, 0), table, |w| {
                w.text(a::RULE_CHAIN, name);
            }),
            Change::DeleteRule(name, handle) => self.message((m::DELETE_RULE, 0), table, |w| {
                w.text(a::RULE_CHAIN, name);
                w.long(a::RULE_HANDLE, *handle);
            }),
            Change::AddRule(chain, rule) => self.rule(table, chain, rule, APPEND),
            Change::InsertRule(chain, rule) => self.rule(table, chain, rule, 0),
            Change::AddSet(set) => {
                self.ids += 1;
                self.set(table, set, self.ids, None);
            }
            Change::DeleteSet(name) => self.message((m::DELETE_SET, 0), table, |w| {
                w.text(a::SET_NAME, name);
            }),
            Change::AddElements(set, elements) => {
                self.elements((m::NEW_ELEMENT, CREATE), table, (set, None), elements);
            }
            Change::DeleteElements(set, elements) => {
                self.elements((m::DELETE_ELEMENT, 0), table, (set, None), elements);
            }
        }
    }

    fn rule(&mut self, table: &Table, chain: &str, rule: &Rule, place: u16) {
        let (expressions, sets) = expressions(rule, &mut self.ids);
        for Anonymous { id, set, elements } in sets {
            self.set(table, &set, id, Some(elements.len()));
            let kind = (message::NEW_ELEMENT, CREATE);
            self.elements(kind, table, (&set.name, Some(id)), &elements);
        }
        self.message((message::NEW_RULE, CREATE | place), table, |w| {
            w.text(a::RULE_CHAIN, chain);
            w.nest(a::RULE_EXPRESSIONS, |w| w.bytes.extend(expressions));
            if let Some(comment) = &rule.comment {
                w.attribute(a::RULE_USERDATA, &userdata_text(comment));
            }
        });
    }

    /// `only`: how many elements it has, for ever, if it stands in a rule.
    fn set(&mut self, table: &Table, set: &Set, id: u32, only: Option<usize>) {
        let mut flags = 0;
        let mut add = |wanted: bool, flag| flags |= if wanted { flag } else { 0 };
        add(only.is_some(), flag::ANONYMOUS | flag::CONSTANT);
        add(set.ranges, flag::INTERVAL);
        add(set.holds != Holds::Nothing, flag::MAP);
        add(set.remembers.is_some(), flag::TIMEOUT | flag::DYNAMIC);
        self.message((message::NEW_SET, CREATE), table, |w| {
            w.text(a::SET_NAME, &set.name);
            w.number(a::SET_FLAGS, flags);
            let (kind, length) = described(&set.key);
            w.number(a::SET_KEY_TYPE, kind);
            w.number(a::SET_KEY_LEN, length);
            match &set.holds {
                Holds::Nothing => {}
                Holds::Verdicts => w.number(a::SET_DATA_TYPE, VERDICT_TYPE),
                Holds::Values(kinds) => {
                    let (kind, length) = described(kinds);
                    w.number(a::SET_DATA_TYPE, kind);
                    w.number(a::SET_DATA_LEN, length);
                }
            }
            w.number(a::SET_ID, id);
            if let Some(seconds) = set.remembers {
                w.long(a::SET_TIMEOUT, u64::from(seconds) * 1000);
            }
            if let Some(count) = only {
                w.nest(a::SET_DESCRIPTION, |w| {
                    w.number(a::DESCRIPTION_SIZE, number(count));
                });
            }
            if let [Kind::Number | Kind::Index | Kind::Link] = set.key.as_slice() {
                let mut userdata = vec![KEY_BYTE_ORDER, 4];
                userdata.extend(HOST_ORDER.to_ne_bytes());
                w.attribute(a::SET_USERDATA, &userdata);
            }
        });
    }

    fn elements(
        &mut self,
        kind: (u16, u16),
        table: &Table,
        (set, id): (&str, Option<u32>),
        elements: &[Element],
    ) {
        for some in elements.chunks(ELEMENTS_A_MESSAGE) {
            self.message(kind, table, |w| {
                w.text(a::ELEMENTS_SET, set);
                if let Some(id) = id {
                    w.number(a::ELEMENTS_SET_ID, id);
                }
                w.nest(a::ELEMENTS, |w| {
                    some.iter().for_each(|element| put_element(w, element));
                });
            });
        }
    }
}

fn put_element(w: &mut Writer, element: &Element) {
    w.nest(a::LIST_ELEMENT, |w| {
        put_data(w, a::ELEMENT_KEY, &together(&element.key));
        match &element.held {
            Held::Nothing => {}
            Held::Verdict(verdict) => put_verdict(w, a::ELEMENT_DATA, verdict),
            Held::Values(values) => put_data(w, a::ELEMENT_DATA, &together(values)),
        }
    });
    // A range ends before an element of its own.
    if let Some(end) = element.last.as_ref().and_then(Value::next) {
        w.nest(a::LIST_ELEMENT, |w| {
            put_data(w, a::ELEMENT_KEY, &value_bytes(&end));
            w.number(a::ELEMENT_FLAGS, flag::INTERVAL_END);
        });
    }
}

fn put_base(w: &mut Writer, base: Base) {
    let hook = match base.hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    w.nest(a::CHAIN_HOOK, |w| {
        w.number(a::HOOK_NUMBER, hook);
        w.attribute(a::HOOK_PRIORITY, &base.priority.to_be_bytes());
    });
    w.number(a::CHAIN_POLICY, 1);
    w.text(a::CHAIN_TYPE, if base.nat { "nat" } else { "filter" });
}

/// A comment as the program `nft` keeps it: type 0, length, text with its zero.
fn userdata_text(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let length = u8::try_from(text.len() + 1).expect("it was cut above");
    [&[0, length], text, &[0]].concat()
}
