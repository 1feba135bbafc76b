//! `--service-cluster-ip-range`: the networks that the cluster itself gives services addresses from.
//!
//! Invariant: one network, or one of each family; the first has room for the service `kubernetes` and more. Follows `getServiceIPAndRanges` and
//! `validateClusterIPFlags` of `cmd/kube-apiserver/app/options`.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use skiff_api::machinery::names::ip::{family, parse_cidr_sloppy};

use super::networks;

/// Why these are no networks of services.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum RangesError {
    #[error("service-cluster-ip-range[0] is not a valid cidr")]
    First,
    #[error("service-cluster-ip-range[1] is not an ip net")]
    Second,
    #[error(
        "error determining service IP ranges for primary service cidr: the service cluster IP range must be at least 8 IP addresses"
    )]
    Small,
    #[error("--service-cluster-ip-range must not contain more than two entries")]
    Many,
    #[error(
        "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family"
    )]
    OneFamily,
    #[error("service IP family {net:?} must match public address family {address:?}", net = .0.to_string(), address = .1.to_string())]
    OtherThanServers(IpNet, IpAddr),
}

/// The network of the usual family and, where the cluster has both, that of the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRanges {
    first: IpNet,
    second: Option<IpNet>,
}

impl ServiceRanges {
    /// The networks of a flag's text.
    ///
    /// # Errors
    /// The text names none, too many, two of one family, or one that is too small.
    pub fn parse(text: &str) -> Result<ServiceRanges, RangesError> {
        let texts: Vec<&str> = text.split(',').collect();
        let first = texts.first().and_then(|text| network(text));
        let first = first.ok_or(RangesError::First)?;
        if first.max_prefix_len() - first.prefix_len() < 3 {
            return Err(RangesError::Small);
        }
        let second = match texts.get(1) {
            Some(text) => Some(network(text).ok_or(RangesError::Second)?),
            None => None,
        };
        if texts.len() > 2 {
            return Err(RangesError::Many);
        }
        if second.is_some_and(|second| family(&second.addr()) == family(&first.addr())) {
            return Err(RangesError::OneFamily);
        }
        Ok(ServiceRanges { first, second })
    }

    /// The network that the service `kubernetes` has its address from.
    pub fn first(&self) -> IpNet {
        self.first
    }

    /// Both, the usual one first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// The families that services may have, the usual one first.
    pub fn families(&self) -> Vec<&'static str> {
        self.iter().map(|net| family(&net.addr())).collect()
    }

    /// The address at this place in each network, as far as the network reaches: the service `kubernetes` has place 1 of the first.
    pub fn at(&self, place: u32) -> Vec<IpAddr> {
        let at = |net: IpNet| {
            let ip = networks::Network::new(net).nth(u128::from(place.checked_sub(1)?));
            net.contains(&ip).then_some(ip)
        };
        self.iter().filter_map(at).collect()
    }

    /// The service `kubernetes` leads to the server, whose address must be of its family.
    ///
    /// # Errors
    /// It is not.
    pub fn lead_to(&self, server: IpAddr) -> Result<(), RangesError> {
        match family(&server) == family(&self.first.addr()) {
            true => Ok(()),
            false => Err(RangesError::OtherThanServers(self.first, server)),
        }
    }
}

impl FromStr for ServiceRanges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<ServiceRanges, RangesError> {
        ServiceRanges::parse(text)
    }
}

impl Default for ServiceRanges {
    /// What kubeadm takes where nobody says otherwise, as large as a network of services usually is.
    fn default() -> ServiceRanges {
        let first = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 16);
        ServiceRanges {
            first: first.into(),
            second: None,
        }
    }
}

/// As Go's loose parser reads a network; one of IPv4 that is written as one of IPv6 is the former.
fn network(text: &str) -> Option<IpNet> {
    parse_cidr_sloppy(text)?.network().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_networks_are_taken() {
        for (text, said) in [
            ("10.96.0.0/16", Ok("10.96.0.0/16")),
            (
                "10.96.0.5/16,fd00::5/112",
                Ok("10.96.0.0/16 and fd00::/112"),
            ),
            ("fd00::/64,10.96.0.0/8", Ok("fd00::/64 and 10.0.0.0/8")),
            (
                "010.96.0.0/16,fd00::/128",
                Ok("10.96.0.0/16 and fd00::/128"),
            ),
            ("::ffff:10.96.0.0/112", Ok("10.96.0.0/16")),
            ("10.96.0.0/29", Ok("10.96.0.0/29")),
            ("", Err(RangesError::First)),
            ("odd", Err(RangesError::First)),
            (",10.96.0.0/16", Err(RangesError::First)),
            ("10.96.0.0/16,", Err(RangesError::Second)),
            ("10.96.0.0/16, fd00::/112", Err(RangesError::Second)),
            ("10.96.0.0/16,odd,fd00::/112", Err(RangesError::Second)),
            ("10.96.0.0/30,odd", Err(RangesError::Small)),
            ("fd00::/126", Err(RangesError::Small)),
            ("10.96.0.0/16,fd00::/112,fd01::/112", Err(RangesError::Many)),
            ("10.96.0.0/16,10.97.0.0/16", Err(RangesError::OneFamily)),
            ("fd00::/112,fd01::/112", Err(RangesError::OneFamily)),
        ] {
            let parsed = ServiceRanges::parse(text).map(|ranges| {
                let nets: Vec<_> = ranges.iter().map(|net| net.to_string()).collect();
                nets.join(" and ")
            });
            assert_eq!(parsed, said.map(str::to_string), "{text}");
        }
    }

    #[test]
    fn addresses_at_a_place() {
        let at = |text: &str, place| -> Vec<String> {
            let ips = ServiceRanges::parse(text).unwrap().at(place);
            ips.iter().map(IpAddr::to_string).collect()
        };
        let both = "10.96.0.0/16,fd00:10:96::/112";
        assert_eq!(at(both, 10), ["10.96.0.10", "fd00:10:96::a"]);
        assert_eq!(at("fd00::/125,10.0.0.0/24", 10), ["10.0.0.10"]);
        assert_eq!(at("10.0.0.0/24", 1), ["10.0.0.1"]);
    }

    #[test]
    fn the_server_is_of_the_first_family() {
        let ranges = ServiceRanges::parse("fd00::/112,10.96.0.0/16").unwrap();
        assert_eq!(ranges.families(), ["IPv6", "IPv4"]);
        assert_eq!(ranges.lead_to("2001:db8::1".parse().unwrap()), Ok(()));
        let refused = ranges.lead_to("10.0.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"service IP family "fd00::/112" must match public address family "10.0.0.1""#
        );
    }
}
