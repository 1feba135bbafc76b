//! A batch as the kernel takes it: one datagram with a message a change, and the requests that ask what is there.
//!
//! Invariant: the message with the number `n` is of the batch's change `n - 1`, so that an error names the change; only the last asks to be acknowledged.
//! Follows `include/uapi/linux/netfilter/{nf_tables,nfnetlink}.h` of the kernel.

use std::io;

use super::{
    super::wire::{ACK, APPEND, CREATE, DUMP, Writer},
    change::{Base, Batch, Change, Element, Held, Holds, Hook, Set, Table},
    data::{put_data, put_verdict},
    expression::{Anonymous, expressions},
    numbers::{
        BATCH_BEGIN, BATCH_END, NFTABLES, attribute as a, described, flag, message, together,
        value_bytes,
    },
    rule::{Kind, Rule, Value},
};

/// The data type of maps to verdicts.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// What the program `nft` keeps beside a set: the order of a key's bytes, which here is the machine's own.
const KEY_BYTE_ORDER: u8 = 0;
const HOST_ORDER: u32 = 1;
/// With so many bytes a message of elements takes no more: an attribute has at most 64 KB.
const ENOUGH: usize = 48 << 10;

/// A batch as one datagram, and the number of its last message; `None` if it has none.
pub fn batch(batch: &Batch) -> io::Result<(Vec<u8>, Option<u32>)> {
    let mut encoder = Encoder::default();
    encoder.bracket(BATCH_BEGIN);
    for (index, (table, change)) in batch.changes.iter().enumerate() {
        encoder.sequence = number(index + 1);
        encoder.change(table, change);
    }
    encoder.acknowledge_last();
    encoder.sequence += 1;
    encoder.bracket(BATCH_END);
    let last = encoder.last.map(|(_, sequence)| sequence);
    encoder.writer.finish().map(|bytes| (bytes, last))
}

/// One question; without a table it is about all.
pub fn request(kind: u16, all: bool, table: &Table, chain: Option<&str>) -> io::Result<Vec<u8>> {
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
    writer.finish()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a batch has fewer changes than that")
}

#[derive(Default)]
struct Encoder {
    writer: Writer,
    sequence: u32,
    /// Where the last message of a change begins, and its number.
    last: Option<(usize, u32)>,
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
        if let Some((at, _)) = self.last {
            let flags = &mut self.writer.bytes[at + 6..at + 8];
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
        self.last = Some((self.writer.bytes.len(), self.sequence));
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
            w.nest(a::RULE_EXPRESSIONS, |w| w.append(expressions));
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
                // Kernels before 6.14 count both ends of a range, and one more where none begins.
                let size = if set.ranges { 2 * count + 1 } else { count };
                w.nest(a::SET_DESCRIPTION, |w| {
                    w.number(a::DESCRIPTION_SIZE, number(size));
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
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            self.message(kind, table, |w| {
                w.text(a::ELEMENTS_SET, set);
                if let Some(id) = id {
                    w.number(a::ELEMENTS_SET_ID, id);
                }
                w.nest(a::ELEMENTS, |w| {
                    let end = w.bytes.len() + ENOUGH;
                    while let Some(element) = rest.next_if(|_| w.bytes.len() < end) {
                        put_element(w, element);
                    }
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
