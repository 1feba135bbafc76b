//! What the kernel calls things: messages, attributes, flags, and the types and bytes of values.
//!
//! Follows `include/uapi/linux/netfilter/{nf_tables,nfnetlink}.h` of the kernel, and for the types of values the program `nft`.

use super::{
    super::family::{self, IpFamily},
    change::Family,
    rule::{Kind, Value},
};

/// What batches are of.
pub const NFTABLES: u16 = 10;
pub const BATCH_BEGIN: u16 = 0x10;
pub const BATCH_END: u16 = 0x11;

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
/// Flags of sets, and of elements.
pub mod flag {
    pub const ANONYMOUS: u32 = 1;
    pub const CONSTANT: u32 = 2;
    pub const INTERVAL: u32 = 4;
    pub const MAP: u32 = 8;
    pub const TIMEOUT: u32 = 0x10;
    pub const DYNAMIC: u32 = 0x20;
    pub const INTERVAL_END: u32 = 1;
}

impl Family {
    pub fn number(self) -> u8 {
        match self {
            Family::Ip => 2,
            Family::Ip6 => 10,
            Family::Bridge => 7,
        }
    }
}

impl Kind {
    /// (number of the type in the program `nft`, bytes).
    pub fn numbers(self) -> (u32, u32) {
        match self {
            Kind::Ip(IpFamily::V4) => (7, 4),
            Kind::Ip(IpFamily::V6) => (8, 16),
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
            Value::Ip(ip) => Kind::Ip(IpFamily::of(*ip)),
            Value::Protocol(_) => Kind::Protocol,
            Value::Port(_) => Kind::Port,
            Value::Link(_) => Kind::Link,
            Value::EtherType(_) | Value::IcmpType(_) | Value::Direction(_) | Value::Number(_) => {
                Kind::Number
            }
        }
    }

    /// What comes behind it in a range; nothing behind the last.
    pub fn next(&self) -> Option<Value> {
        match self {
            Value::Ip(ip) => family::next(*ip).map(Value::Ip),
            Value::Port(port) => port.checked_add(1).map(Value::Port),
            Value::Protocol(number) => number.checked_add(1).map(Value::Protocol),
            Value::Link(_)
            | Value::EtherType(_)
            | Value::IcmpType(_)
            | Value::Direction(_)
            | Value::Number(_) => None,
        }
    }
}

/// A value by itself.
pub fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Ip(ip) => family::octets(*ip),
        Value::Protocol(number) | Value::IcmpType(number) | Value::Direction(number) => {
            vec![*number]
        }
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
pub fn together(values: &[Value]) -> Vec<u8> {
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
pub fn described(kinds: &[Kind]) -> (u32, u32) {
    if let [only] = kinds {
        return only.numbers();
    }
    kinds.iter().fold((0, 0), |(kind, length), one| {
        let (number, bytes) = one.numbers();
        (kind << 6 | number, length + bytes.next_multiple_of(4))
    })
}
