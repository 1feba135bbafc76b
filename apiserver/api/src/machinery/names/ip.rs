//! Addresses and networks as fields hold them: the strict form for new values, the loose one for what older objects may bear.
//!
//! Invariant: what the loose parser accepts and the strict one does not is either written with zeros in front or an IPv4 address inside an IPv6 one.
//! Follows upstream's `util/validation/ip.go` and Go's `net`, `net/netip` and `k8s.io/utils/net`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Messages;

/// The families of addresses, by their names in the API.
pub const IPV4: &str = "IPv4";
pub const IPV6: &str = "IPv6";

/// The family of an address.
pub fn family(ip: &IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}

/// The same of one as it is written, whatever is wrong with it otherwise.
pub fn family_of_text(ip: &str) -> &'static str {
    if ip.contains(':') { IPV6 } else { IPV4 }
}

/// An address or network that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written, an IPv4 one inside IPv6 taken out.
    pub addr: IpAddr,
    /// The length of the prefix, in the family of `addr` as written.
    pub prefix: u8,
    /// Whether it was written as an IPv4 address inside an IPv6 one.
    pub mapped: bool,
}

impl Cidr {
    /// `part` lies within this network and is smaller.
    pub fn strictly_holds(&self, part: &Cidr) -> bool {
        let length = |cidr: &Cidr| {
            if cidr.mapped {
                cidr.prefix.saturating_sub(96)
            } else {
                cidr.prefix
            }
        };
        self.addr.is_ipv4() == part.addr.is_ipv4()
            && mask(part.addr, length(self)) == mask(self.addr, length(self))
            && length(self) < length(part)
    }

    /// The network with all bits past the prefix cleared, as Go prints it.
    pub fn network(&self) -> String {
        // Go prints the network of an address inside IPv6 as IPv4, with what is left of the prefix.
        let prefix = if self.mapped {
            self.prefix.saturating_sub(96)
        } else {
            self.prefix
        };
        format!("{}/{prefix}", mask(self.addr, prefix))
    }
}

/// Of the addresses of a network, given its first and its last, one that a service may have: neither the network's own nor, of IPv4, the one for all.
pub fn is_for_services(ip: IpAddr, first: IpAddr, last: IpAddr) -> bool {
    ip != first && (ip.is_ipv6() || ip != last)
}

fn mask(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => Ipv4Addr::from(
            u32::from(a)
                & u32::MAX
                    .checked_shl(32 - u32::from(prefix.min(32)))
                    .unwrap_or(0),
        )
        .into(),
        IpAddr::V6(a) => Ipv6Addr::from(
            u128::from(a)
                & u128::MAX
                    .checked_shl(128 - u32::from(prefix.min(128)))
                    .unwrap_or(0),
        )
        .into(),
    }
}

/// Reads IPv4 with zeros allowed in front of each part (they are decimal).
fn v4_sloppy(s: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = s.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = part.trim_start_matches('0');
        *octet = if significant.is_empty() {
            0
        } else {
            significant.parse().ok()?
        };
    }
    parts.next().is_none().then(|| octets.into())
}

/// Reads an address as upstream's loose parser does; the flag tells an IPv4 address written inside an IPv6 one (the address is the IPv4 one).
pub fn parse_ip_sloppy(s: &str) -> Option<(IpAddr, bool)> {
    if !s.contains(':') {
        return v4_sloppy(s).map(|a| (a.into(), false));
    }
    if s.contains('%') {
        return None;
    }
    let address: Ipv6Addr = match s.rfind(':').filter(|_| s.contains('.')) {
        Some(colon) => format!("{}:{}", &s[..colon], v4_sloppy(&s[colon + 1..])?)
            .parse()
            .ok()?,
        None => s.parse().ok()?,
    };
    Some(
        address
            .to_ipv4_mapped()
            .map_or((address.into(), false), |v4| (v4.into(), true)),
    )
}

/// Whether the strict parser takes it, too: no zeros in front.
fn strict(s: &str) -> bool {
    s.parse::<IpAddr>().is_ok()
}

/// Reads `ADDRESS/LENGTH` as upstream's loose parser does.
pub fn parse_cidr_sloppy(s: &str) -> Option<Cidr> {
    let (ip, length) = s.split_once('/')?;
    let (addr, mapped) = parse_ip_sloppy(ip)?;
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let prefix: u32 = length.parse().ok()?;
    let bits = if ip.contains(':') { 128 } else { 32 };
    (prefix <= bits).then_some(Cidr {
        addr,
        prefix: prefix as u8,
        mapped,
    })
}

/// An address in a field that was always checked strictly: it must be in canonical form.
pub fn is_valid_ip(value: &str) -> Messages {
    let messages = is_valid_ip_for_legacy_field(value, true, &[]);
    match parse_ip_sloppy(value) {
        Some((ip, _)) if messages.is_empty() && ip.to_string() != value => {
            vec![format!("must be in canonical form (\"{ip}\")")]
        }
        _ => messages,
    }
}

/// An address in an older field. `valid_old` are values of the object before, which stay good.
pub fn is_valid_ip_for_legacy_field(value: &str, strictly: bool, valid_old: &[&str]) -> Messages {
    if valid_old.contains(&value) {
        return Messages::new();
    }
    let Some((_, mapped)) = parse_ip_sloppy(value) else {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()];
    };
    let mut messages = Messages::new();
    if strictly && !strict(value) {
        messages.push("must not have leading 0s".into());
    } else if strictly && mapped {
        messages.push("must not be an IPv4-mapped IPv6 address".into());
    }
    messages
}

/// A network in canonical form.
pub fn is_valid_cidr(value: &str) -> Messages {
    let messages = is_valid_cidr_for_legacy_field(value, true, &[]);
    match parse_cidr_sloppy(value).map(|c| c.network()) {
        Some(network) if messages.is_empty() && network != value => {
            vec![format!("must be in canonical form (\"{network}\")")]
        }
        _ => messages,
    }
}

/// A network in an older field. `valid_old` are values of the object before, which stay good.
pub fn is_valid_cidr_for_legacy_field(value: &str, strictly: bool, valid_old: &[&str]) -> Messages {
    if valid_old.contains(&value) {
        return Messages::new();
    }
    let Some(cidr) = parse_cidr_sloppy(value) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()];
    };
    if !strictly {
        return Messages::new();
    }
    let plain = value
        .split_once('/')
        .is_some_and(|(ip, length)| strict(ip) && (length == "0" || !length.starts_with('0')));
    if !plain {
        vec!["must not have leading 0s in IP or prefix length".into()]
    } else if cidr.mapped {
        vec!["must not have an IPv4-mapped IPv6 address".into()]
    } else if mask(cidr.addr, cidr.prefix) != cidr.addr {
        vec!["must not have bits set beyond the prefix length".into()]
    } else {
        Messages::new()
    }
}

/// `ADDRESS/LENGTH` of an interface, in canonical form.
pub fn is_valid_interface_address(value: &str) -> Messages {
    let Some(cidr) = parse_cidr_sloppy(value) else {
        return vec![
            "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".into(),
        ];
    };
    let prefix = if cidr.mapped && cidr.prefix > 32 {
        cidr.prefix.saturating_sub(96)
    } else {
        cidr.prefix
    };
    let canonical = format!("{}/{prefix}", cidr.addr);
    if value == canonical {
        Messages::new()
    } else {
        vec![format!("must be in canonical form (\"{canonical}\")")]
    }
}

/// What to warn of when an older field holds an address in an odd form. `path` names the field.
pub fn warnings_for_ip(path: &str, value: &str) -> Vec<String> {
    let Some((ip, mapped)) = parse_ip_sloppy(value) else {
        return Vec::new();
    };
    if !strict(value) || mapped {
        vec![format!(
            "{path}: non-standard IP address \"{value}\" is invalid: use \"{ip}\""
        )]
    } else if ip.is_ipv6() && ip.to_string() != value {
        vec![format!(
            "{path}: IPv6 address \"{value}\" should be in RFC 5952 canonical format (\"{ip}\")"
        )]
    } else {
        Vec::new()
    }
}

/// What to warn of when an older field holds a network in an odd form. `path` names the field.
pub fn warnings_for_cidr(path: &str, value: &str) -> Vec<String> {
    let Some(cidr) = parse_cidr_sloppy(value) else {
        return Vec::new();
    };
    let network = cidr.network();
    let mut warnings = Vec::new();
    let significant = if cidr.mapped {
        cidr.prefix.saturating_sub(96)
    } else {
        cidr.prefix
    };
    if mask(cidr.addr, significant) != cidr.addr {
        let bits = if cidr.addr.is_ipv4() && !cidr.mapped {
            32
        } else {
            128
        };
        warnings.push(format!("{path}: CIDR value \"{value}\" is ambiguous in this context (should be \"{network}\" or \"{}/{bits}\"?)", cidr.addr));
    }
    let plain = value
        .split_once('/')
        .is_some_and(|(ip, length)| strict(ip) && (length == "0" || !length.starts_with('0')));
    if !plain || cidr.mapped {
        warnings.push(format!(
            "{path}: non-standard CIDR value \"{value}\" is invalid: use \"{network}\""
        ));
    }
    let canonical = format!("{}/{}", cidr.addr, cidr.prefix);
    if warnings.is_empty() && cidr.addr.is_ipv6() && canonical != value {
        warnings.push(format!("{path}: IPv6 CIDR value \"{value}\" should be in RFC 5952 canonical format (\"{canonical}\")"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (value, wanted) in [
            ("10.0.0.1", ""),
            ("2001:db8::1", ""),
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("FE80::1", "must be in canonical form (\"fe80::1\")"),
            (
                "1.2.3",
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "1.2.3.256",
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "fe80::1%eth0",
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "",
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
        ] {
            assert_eq!(is_valid_ip(value).join(";"), wanted, "{value}");
        }
        assert!(is_valid_ip_for_legacy_field("010.0.0.1", false, &[]).is_empty());
        assert!(is_valid_ip_for_legacy_field("nonsense", true, &["nonsense"]).is_empty());
        assert_eq!(
            warnings_for_ip("spec.ip", "010.0.0.1"),
            ["spec.ip: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\""]
        );
        assert_eq!(
            warnings_for_ip("spec.ip", "FE80::1"),
            [
                "spec.ip: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format (\"fe80::1\")"
            ]
        );
    }

    #[test]
    fn networks() {
        for (value, wanted) in [
            ("10.0.0.0/8", ""),
            ("0.0.0.0/0", ""),
            ("2001:db8::/32", ""),
            (
                "10.0.0.1/8",
                "must not have bits set beyond the prefix length",
            ),
            (
                "10.0.0.0/08",
                "must not have leading 0s in IP or prefix length",
            ),
            (
                "2001:DB8::/32",
                "must be in canonical form (\"2001:db8::/32\")",
            ),
            (
                "10.0.0.0/33",
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                "10.0.0.0",
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                "::ffff:1.2.3.0/120",
                "must not have an IPv4-mapped IPv6 address",
            ),
        ] {
            assert_eq!(is_valid_cidr(value).join(";"), wanted, "{value}");
        }
        assert_eq!(
            warnings_for_cidr("p", "10.0.0.1/8"),
            [
                "p: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
        assert!(is_valid_interface_address("10.0.0.1/8").is_empty());
        assert_eq!(
            is_valid_interface_address("2001:DB8::1/64"),
            ["must be in canonical form (\"2001:db8::1/64\")"]
        );
    }
}
