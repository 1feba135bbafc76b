//! Addresses and prefixes as Go's `net/netip` reads them, and its words for what it does not.

use crate::quote::GoQuoted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("ParseAddr({text}): {why}{}", at.as_ref().map_or(String::new(), |at| format!(" (at {at})", at = GoQuoted(&at))), text = GoQuoted(.text))]
    Address {
        text: String,
        why: &'static str,
        /// What was left of the text.
        at: Option<String>,
    },
    #[error("netip.ParsePrefix({text}): {why}", text = GoQuoted(.text))]
    Prefix { text: String, why: String },
}

/// An address, and whether it names a zone.
pub fn parse(text: &str) -> Result<(IpAddr, bool), AddressError> {
    match text.bytes().find(|b| matches!(b, b'.' | b':' | b'%')) {
        Some(b'.') => {
            let fields = v4(text, text)?;
            Ok((IpAddr::V4(Ipv4Addr::from(fields)), false))
        }
        Some(b':') => v6(text),
        Some(_) => fault(text, "missing IPv6 address", None),
        None => fault(text, "unable to parse IP", None),
    }
}

fn fault<T>(text: &str, why: &'static str, at: Option<&str>) -> Result<T, AddressError> {
    Err(AddressError::Address {
        text: text.to_owned(),
        why,
        at: at.filter(|at| !at.is_empty()).map(str::to_owned),
    })
}

fn v4(whole: &str, part: &str) -> Result<[u8; 4], AddressError> {
    let bytes = part.as_bytes();
    let (mut fields, mut at, mut value, mut digits) = ([0; 4], 0, 0_u32, 0);
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return fault(whole, "IPv4 field has octet with leading zero", None);
                }
                value = value * 10 + u32::from(b - b'0');
                digits += 1;
                if value > 255 {
                    return fault(whole, "IPv4 field has value >255", None);
                }
            }
            b'.' => {
                if i == 0 || i == bytes.len() - 1 || bytes[i - 1] == b'.' {
                    let why = "IPv4 field must have at least one digit";
                    return fault(whole, why, part.get(i..));
                }
                if at == 3 {
                    return fault(whole, "IPv4 address too long", None);
                }
                fields[at] = value as u8;
                at += 1;
                (value, digits) = (0, 0);
            }
            _ => return fault(whole, "unexpected character", part.get(i..)),
        }
    }
    if at < 3 {
        return fault(whole, "IPv4 address too short", None);
    }
    fields[3] = value as u8;
    Ok(fields)
}

fn v6(whole: &str) -> Result<(IpAddr, bool), AddressError> {
    let (mut rest, zone) = match whole.split_once('%') {
        Some((_, "")) => return fault(whole, "zone must be a non-empty string", None),
        Some((rest, _)) => (rest, true),
        None => (whole, false),
    };
    let mut bytes: Vec<u8> = Vec::with_capacity(16);
    let mut gap = None;
    if let Some(after) = rest.strip_prefix("::") {
        gap = Some(0);
        rest = after;
        if rest.is_empty() {
            return Ok((IpAddr::V6(Ipv6Addr::UNSPECIFIED), zone));
        }
    }
    while bytes.len() < 16 {
        let count = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if count > 4 {
            return fault(whole, "each group must have 4 or fewer digits", Some(rest));
        }
        if count == 0 {
            let why = "each colon-separated field must have at least one digit";
            return fault(whole, why, Some(rest));
        }
        if rest[count..].starts_with('.') {
            if gap.is_none() && bytes.len() != 12 {
                let why = "embedded IPv4 address must replace the final 2 fields of the address";
                return fault(whole, why, Some(rest));
            }
            if bytes.len() + 4 > 16 {
                let why = "too many hex fields to fit an embedded IPv4 at the end of the address";
                return fault(whole, why, Some(rest));
            }
            bytes.extend(v4(whole, rest)?);
            rest = "";
            break;
        }
        let field = u16::from_str_radix(&rest[..count], 16).unwrap_or(0);
        bytes.extend(field.to_be_bytes());
        rest = &rest[count..];
        let Some(after) = rest.strip_prefix(':') else {
            if rest.is_empty() {
                break;
            }
            return fault(whole, "unexpected character, want colon", Some(rest));
        };
        if after.is_empty() {
            return fault(
                whole,
                "colon must be followed by more characters",
                Some(rest),
            );
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if gap.is_some() {
                return fault(whole, "multiple :: in address", Some(rest));
            }
            gap = Some(bytes.len());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return fault(whole, "trailing garbage after address", Some(rest));
    }
    match gap {
        None if bytes.len() < 16 => return fault(whole, "address string too short", None),
        Some(_) if bytes.len() == 16 => {
            let why = "the :: must expand to at least one field of zeros";
            return fault(whole, why, None);
        }
        Some(at) => {
            let zeros = vec![0; 16 - bytes.len()];
            bytes.splice(at..at, zeros);
        }
        None => {}
    }
    let mut fields = [0; 16];
    fields.copy_from_slice(&bytes);
    Ok((IpAddr::V6(Ipv6Addr::from(fields)), zone))
}

/// An address and the bits of its prefix; bits behind them may be set.
pub fn parse_prefix(text: &str) -> Result<(IpAddr, u8), AddressError> {
    let fault = |why: String| {
        Err(AddressError::Prefix {
            text: text.to_owned(),
            why,
        })
    };
    let Some((address, bits)) = text.rsplit_once('/') else {
        return fault("no '/'".into());
    };
    let address = match parse(address) {
        Ok((_, true)) => return fault("IPv6 zones cannot be present in a prefix".into()),
        Ok((address, false)) => address,
        Err(error) => return fault(error.to_string()),
    };
    let plain = !bits.is_empty()
        && bits.bytes().all(|b| b.is_ascii_digit())
        && (bits.len() == 1 || !bits.starts_with('0'));
    let number = bits.parse::<u64>().ok().filter(|_| plain);
    let most = if address.is_ipv4() { 32 } else { 128 };
    match number {
        None => fault(format!(
            "bad bits after slash: {bits}",
            bits = GoQuoted(&bits)
        )),
        Some(bits) if bits > most => fault("prefix length out of range".into()),
        Some(bits) => Ok((address, bits as u8)),
    }
}

/// The bits of an address from the first on, the rest made 0.
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

/// `::ffff:1.2.3.4`
pub fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}
