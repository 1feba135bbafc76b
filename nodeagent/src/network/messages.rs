//! Netlink's messages about links, addresses and routes: how ours are made, and what is read from the kernel's.
//!
//! Invariant: nothing here asks the kernel anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{
        BridgePortState, InfoBridgePort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage, State,
    },
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};

use super::family;

/// The closure that gives what is in one variant of an enum, and nothing for the others.
macro_rules! only {
    ($variant:path) => {
        |value| match value {
            $variant(inner) => Some(inner),
            _ => None,
        }
    };
}
pub(super) use only;

/// It is up, and where it is a bridge's port, the bridge sends through it.
pub(super) fn carries(link: &LinkMessage) -> bool {
    let port = |info: &LinkInfo| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => port.iter().any(
            |p| matches!(p, InfoBridgePort::State(state) if *state != BridgePortState::Forwarding),
        ),
        _ => false,
    };
    let mut up = false;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::OperState(state) => up = *state == State::Up,
            LinkAttribute::LinkInfo(infos) if infos.iter().any(port) => return false,
            _ => {}
        }
    }
    up
}

pub(super) fn destination(route: &RouteMessage) -> Option<IpNet> {
    let zero = match route.header.address_family {
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let ip = route
        .attributes
        .iter()
        .find_map(only!(RouteAttribute::Destination));
    let ip = ip.and_then(address);
    IpNet::new(ip.unwrap_or(zero), route.header.destination_prefix_length).ok()
}

pub(super) fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(only!(RouteAttribute::Gateway))
        .and_then(address)
}

pub(super) fn link_of(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(only!(RouteAttribute::Oif))
        .copied()
}

pub(super) fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

pub(super) fn route_message(
    to: IpNet,
    via: Option<IpAddr>,
    link: u32,
    protocol: u8,
) -> RouteMessage {
    let target = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(to.network()),
        destination_prefix_length: to.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(protocol),
        scope: if via.is_some() {
            RouteScope::Universe
        } else {
            RouteScope::Link
        },
        kind: RouteType::Unicast,
        flags: if via.is_some() {
            RouteFlags::Onlink
        } else {
            RouteFlags::empty()
        },
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(target(to.network())),
        RouteAttribute::Oif(link),
    ];
    message
        .attributes
        .extend(via.map(|via| RouteAttribute::Gateway(target(via))));
    message
}

pub(super) fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    }
}

pub(super) fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    (message.header.index, message.attributes) = (index, attributes);
    message
}

/// The hardware address that belongs to who has these addresses: who gets the address next is known already, and nobody remembers a wrong one.
/// Locally administered, as the CNI project's plugins once made them. That of IPv4 decides if there is one; of IPv6 it is the end, in which the addresses
/// of a network differ.
pub(super) fn hardware_address(of: &[IpAddr]) -> [u8; 6] {
    let first = of.iter().find(|ip| ip.is_ipv4()).or(of.first());
    let octets = first.map(|ip| family::octets(*ip)).unwrap_or_default();
    let mut address = [0x0a, 0x58, 0, 0, 0, 0];
    if let Some(last) = octets.last_chunk::<4>() {
        address[2..].copy_from_slice(last);
    }
    address
}

/// The address of IPv6 that an interface gives itself, by its hardware address.
pub(super) fn link_local(hardware: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = hardware;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

pub(super) fn hardware(of: &[IpAddr]) -> LinkAttribute {
    LinkAttribute::Address(hardware_address(of).to_vec())
}

pub(super) fn raised(mut link: LinkMessage) -> LinkMessage {
    (link.header.flags, link.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    link
}

/// An address with, for IPv4, the broadcast address of its network; of IPv6 one that may be used at once, as nobody else can have it.
pub(super) fn address_message(index: u32, address: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    (
        message.header.index,
        message.header.prefix_len,
        message.header.family,
    ) = (index, prefix_len, family(address));
    message.attributes = vec![
        AddressAttribute::Address(address),
        AddressAttribute::Local(address),
    ];
    match IpNet::new(address, prefix_len) {
        Ok(IpNet::V4(net)) => message
            .attributes
            .push(AddressAttribute::Broadcast(net.broadcast())),
        _ => message.header.flags = AddressHeaderFlags::Nodad,
    }
    message
}

pub(super) fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = || message.attributes.iter();
    let local = attributes().find_map(only!(AddressAttribute::Local));
    local
        .or_else(|| attributes().find_map(only!(AddressAttribute::Address)))
        .copied()
}
