//! The two families of IP addresses, in the API's words (`ipFamilies`), and what differs from one to the other. All else is written once for both.
//!
//! Invariant: pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    #[default]
    V4,
    V6,
}

impl IpFamily {
    pub const ALL: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

    /// By its name in the API.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(IpFamily::V4),
            "IPv6" => Some(IpFamily::V6),
            _ => None,
        }
    }

    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => IpFamily::V4,
            IpAddr::V6(_) => IpFamily::V6,
        }
    }

    pub fn of_network(net: IpNet) -> Self {
        Self::of(net.addr())
    }

    pub fn has(self, ip: &IpAddr) -> bool {
        Self::of(*ip) == self
    }

    /// Those of this family.
    pub fn addresses(self, ips: &[IpAddr]) -> Vec<IpAddr> {
        ips.iter().copied().filter(|ip| self.has(ip)).collect()
    }

    /// Those of this family.
    pub fn networks(self, nets: &[IpNet]) -> Vec<IpNet> {
        let nets = nets.iter().copied();
        nets.filter(|net| Self::of_network(*net) == self).collect()
    }

    /// The first of this family.
    pub fn network(self, nets: &[IpNet]) -> Option<IpNet> {
        self.networks(nets).first().copied()
    }

    pub fn loopback(self) -> IpNet {
        match self {
            IpFamily::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            IpFamily::V6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        }
    }

    pub fn multicast(self) -> IpNet {
        match self {
            IpFamily::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
            IpFamily::V6 => {
                let first = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
                IpNet::V6(Ipv6Net::new_assert(first, 8))
            }
        }
    }

    /// All addresses.
    pub fn everything(self) -> IpNet {
        match self {
            IpFamily::V4 => IpNet::V4(Ipv4Net::default()),
            IpFamily::V6 => IpNet::V6(Ipv6Net::default()),
        }
    }

    /// As an address to listen at: all of the machine's.
    pub fn unspecified(self) -> IpAddr {
        self.everything().addr()
    }

    /// The number of its protocol for errors and echoes, above IP.
    pub fn icmp(self) -> u8 {
        match self {
            IpFamily::V4 => 1,
            IpFamily::V6 => 58,
        }
    }

    /// Of an address.
    pub fn bytes(self) -> u32 {
        match self {
            IpFamily::V4 => 4,
            IpFamily::V6 => 16,
        }
    }

    /// An address by its number; what has no room in the family is cut.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            IpFamily::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
            IpFamily::V6 => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }
}

/// The number of an address within its family.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The address behind it, which the last has not.
pub fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|n| IpAddr::V6(n.into())),
    }
}

/// Its bytes as they are sent.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address as a network of its own.
pub fn alone(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let ips = ["10.0.0.1", "fd00::1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert_eq!(IpFamily::V4.addresses(&ips), [ips[0], ips[2]]);
        assert_eq!(IpFamily::V6.addresses(&ips), [ips[1]]);
        let nets = ["fd00::/64", "10.0.0.0/8"].map(|net| net.parse().unwrap());
        for (family, net) in [(IpFamily::V6, nets[0]), (IpFamily::V4, nets[1])] {
            assert_eq!(family.network(&nets), Some(net));
            assert_eq!(family.address(number(net.addr())), net.addr());
            assert_eq!(octets(net.addr()).len(), family.bytes() as usize);
            assert_eq!(next(family.everything().broadcast()), None);
        }
        assert_eq!(next(ips[0]), Some(ips[2]));
    }
}
