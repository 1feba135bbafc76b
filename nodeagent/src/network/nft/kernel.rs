//! Numbers of the kernel's for expressions: their attributes, by expression, and what these may be.
//!
//! Follows `include/uapi/linux/netfilter/nf_tables.h` of the kernel.

pub const LIST_ELEMENT: u16 = 1;
pub const EXPR_NAME: u16 = 1;
pub const EXPR_DATA: u16 = 2;

pub const META_DREG: u16 = 1;
pub const META_KEY: u16 = 2;
pub const META_SREG: u16 = 3;
pub const META_MARK: u32 = 3;
pub const META_IIFNAME: u32 = 6;
pub const META_OIFNAME: u32 = 7;
pub const META_L4PROTO: u32 = 16;

pub const PAYLOAD_DREG: u16 = 1;
pub const PAYLOAD_BASE: u16 = 2;
pub const PAYLOAD_OFFSET: u16 = 3;
pub const PAYLOAD_LEN: u16 = 4;
pub const LINK_HEADER: u32 = 0;
pub const NETWORK_HEADER: u32 = 1;
pub const TRANSPORT_HEADER: u32 = 2;

pub const CMP_SREG: u16 = 1;
pub const CMP_OP: u16 = 2;
pub const CMP_DATA: u16 = 3;
pub const EQUAL: u32 = 0;
pub const UNEQUAL: u32 = 1;

pub const RANGE_SREG: u16 = 1;
pub const RANGE_OP: u16 = 2;
pub const RANGE_FROM: u16 = 3;
pub const RANGE_TO: u16 = 4;

pub const BITWISE_SREG: u16 = 1;
pub const BITWISE_DREG: u16 = 2;
pub const BITWISE_LEN: u16 = 3;
pub const BITWISE_MASK: u16 = 4;
pub const BITWISE_XOR: u16 = 5;

pub const LOOKUP_SET: u16 = 1;
pub const LOOKUP_SREG: u16 = 2;
pub const LOOKUP_DREG: u16 = 3;
pub const LOOKUP_SET_ID: u16 = 4;
pub const LOOKUP_FLAGS: u16 = 5;
pub const LOOKUP_INVERTED: u32 = 1;

pub const IMMEDIATE_DREG: u16 = 1;
pub const IMMEDIATE_DATA: u16 = 2;

pub const FIB_DREG: u16 = 1;
pub const FIB_RESULT: u16 = 2;
pub const FIB_FLAGS: u16 = 3;
pub const FIB_ADDRESS_TYPE: u32 = 3;
pub const FIB_SOURCE: u32 = 1;
pub const FIB_DESTINATION: u32 = 2;

pub const CT_DREG: u16 = 1;
pub const CT_KEY: u16 = 2;
pub const CT_STATE: u32 = 0;
pub const CT_DIRECTION: u32 = 1;
pub const CT_STATUS: u32 = 2;

pub const NUMGEN_DREG: u16 = 1;
pub const NUMGEN_MODULUS: u16 = 2;
pub const NUMGEN_TYPE: u16 = 3;
pub const NUMGEN_RANDOM: u32 = 1;

pub const NAT_TYPE: u16 = 1;
pub const NAT_FAMILY: u16 = 2;
pub const NAT_ADDRESS: u16 = 3;
pub const NAT_PORT: u16 = 5;
pub const NAT_DNAT: u32 = 1;
pub const IPV4: u32 = 2;
pub const IPV6: u32 = 10;

pub const MASQ_FLAGS: u16 = 1;
pub const FULLY_RANDOM: u32 = 1 << 4;

pub const REJECT_TYPE: u16 = 1;
pub const REJECT_CODE: u16 = 2;
pub const REJECT_ICMP: u32 = 0;
pub const REJECT_RESET: u32 = 1;

pub const DYNSET_NAME: u16 = 1;
pub const DYNSET_OP: u16 = 3;
pub const DYNSET_KEY: u16 = 4;
pub const DYNSET_UPDATE: u32 = 1;

/// Where verdicts go.
pub const VERDICT: u32 = 0;
/// The first of the registers of four bytes.
pub const FIRST: u32 = 8;
