//! How protobuf puts numbers and lengths into bytes.

/// The first bytes of an object in protobuf.
pub const PREFIX: &[u8; 4] = b"k8s\0";
/// Types may hold themselves (schemas of custom resources).
pub const DEPTH: usize = 200;

/// A field whose value is one number.
pub const VARINT: u8 = 0;
/// Eight bytes.
pub const FIXED64: u8 = 1;
/// A length and so many bytes.
pub const LENGTH: u8 = 2;

pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What stands before the value of a field.
pub fn key(out: &mut Vec<u8>, number: u16, wire: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire));
}

/// A number; what is below zero takes ten bytes.
pub fn number(out: &mut Vec<u8>, number: u16, value: i64) {
    key(out, number, VARINT);
    varint(out, value as u64);
}

pub fn bytes(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    key(out, number, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Begins a message; what is returned is for [`close`].
pub fn open(out: &mut Vec<u8>, number: u16) -> usize {
    key(out, number, LENGTH);
    out.push(0);
    out.len()
}

/// Ends the message that begins at `from`: its length goes before it, for which one byte is left.
pub fn close(out: &mut Vec<u8>, from: usize) {
    let length = out.len() - from;
    if length < 0x80 {
        out[from - 1] = length as u8;
        return;
    }
    let mut written = [0; 10];
    let mut size = 0;
    let mut rest = length;
    while rest >= 0x80 {
        written[size] = rest as u8 | 0x80;
        rest >>= 7;
        size += 1;
    }
    written[size] = rest as u8;
    out.resize(out.len() + size, 0);
    out.copy_within(from..from + length, from + size);
    out[from - 1..from + size].copy_from_slice(&written[..=size]);
}
