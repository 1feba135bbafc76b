//! Forgetting the kernel's connection entries of UDP (and SCTP) clients whose endpoint is gone: as such a client keeps its port, its packets would go
//! there, or nowhere, for as long as it keeps sending.
//!
//! Invariant: only entries towards an address of the given services are touched, and of those only the ones that do not lead to a present endpoint.
//! Follows `pkg/proxy/conntrack/cleanup.go` upstream.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use netlink_sys::{Socket, SocketAddr};

use super::{
    super::{Error, failed, ns::Namespace},
    plan::{PortPlan, Protocol},
};

/// From `linux/netfilter/nfnetlink_conntrack.h`, `linux/netfilter/nfnetlink.h` and `linux/netlink.h`.
mod kernel {
    pub const NETLINK_NETFILTER: isize = 12;
    pub const CT_GET: u16 = 1 << 8 | 1;
    pub const CT_DELETE: u16 = 1 << 8 | 2;
    pub const CTA_TUPLE_ORIG: u16 = 1;
    pub const CTA_TUPLE_REPLY: u16 = 2;
    pub const CTA_TUPLE_IP: u16 = 1;
    pub const CTA_TUPLE_PROTO: u16 = 2;
    pub const CTA_IP_V4_SRC: u16 = 1;
    pub const CTA_IP_V4_DST: u16 = 2;
    pub const CTA_PROTO_NUM: u16 = 1;
    pub const CTA_PROTO_DST_PORT: u16 = 3;
    pub const NLMSG_ERROR: u16 = 2;
    pub const NLMSG_DONE: u16 = 3;
    pub const REQUEST: u16 = 1;
    pub const ACK: u16 = 4;
    pub const DUMP: u16 = 0x300;
    pub const NESTED: u16 = 0x8000;
    /// `nlmsghdr` and `nfgenmsg`.
    pub const HEADERS: usize = 16 + 4;
}

/// An IPv4 entry: where the client sent to, who answers, and the bytes that name the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    protocol: u8,
    to: Ipv4Addr,
    port: u16,
    answers: Ipv4Addr,
    original: Vec<u8>,
}

/// The addresses of changed services and the endpoints that each leads to now.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    ips: BTreeMap<(u8, Ipv4Addr, u16), BTreeSet<Ipv4Addr>>,
    node_ports: BTreeMap<(u8, u16), BTreeSet<Ipv4Addr>>,
}

impl Wanted {
    /// From what a service was and what it is; TCP is left out, as its clients notice by themselves.
    pub fn add(&mut self, old: &[PortPlan], new: &[PortPlan]) {
        for (plan, present) in old
            .iter()
            .map(|p| (p, false))
            .chain(new.iter().map(|p| (p, true)))
        {
            let protocol = match plan.protocol {
                Protocol::Tcp => continue,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            };
            let endpoints = || {
                plan.reachable()
                    .into_iter()
                    .map(|e| e.ip)
                    .filter(|_| present)
            };
            for ip in [plan.cluster_ip]
                .iter()
                .chain(&plan.external_ips)
                .chain(&plan.load_balancer_ips)
            {
                self.ips
                    .entry((protocol, *ip, plan.port))
                    .or_default()
                    .extend(endpoints());
            }
            if let Some(port) = plan.node_port {
                self.node_ports
                    .entry((protocol, port))
                    .or_default()
                    .extend(endpoints());
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.node_ports.is_empty()
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        let by_ip = self.ips.get(&(entry.protocol, entry.to, entry.port));
        // Traffic to a pod's own port of the same number was not translated: the one asked answers.
        let by_port = || {
            self.node_ports
                .get(&(entry.protocol, entry.port))
                .filter(|_| entry.answers != entry.to)
        };
        by_ip
            .or_else(by_port)
            .is_some_and(|endpoints| !endpoints.contains(&entry.answers))
    }
}

/// Deletes the stale entries inside `ns`; returns how many there were.
pub async fn clean(ns: &Namespace, wanted: Wanted) -> Result<usize, Error> {
    ns.call(move || {
        let mut socket = Socket::new(kernel::NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let stale: Vec<_> = dump(&socket)?
            .into_iter()
            .filter(|e| wanted.is_stale(e))
            .collect();
        for entry in &stale {
            delete(&socket, entry)?;
        }
        Ok(stale.len())
    })
    .await?
    .map_err(|e: std::io::Error| failed("clear connection entries", e))
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = ((kernel::HEADERS + attributes.len()) as u32)
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | kernel::REQUEST).to_ne_bytes());
    // Sequence, port; then family, version, resource.
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_INET as u8, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

fn dump(socket: &Socket) -> std::io::Result<Vec<Entry>> {
    socket.send(&message(kernel::CT_GET, kernel::DUMP, &[]), 0)?;
    let mut entries = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                kernel::NLMSG_DONE => return Ok(entries),
                kernel::NLMSG_ERROR => error_of(body)?,
                _ => entries.extend(body.get(4..).and_then(entry)),
            }
        }
    }
}

fn delete(socket: &Socket, entry: &Entry) -> std::io::Result<()> {
    let attribute = attribute_bytes(kernel::CTA_TUPLE_ORIG | kernel::NESTED, &entry.original);
    socket.send(&message(kernel::CT_DELETE, kernel::ACK, &attribute), 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    for (kind, body) in messages(&bytes) {
        if kind == kernel::NLMSG_ERROR {
            match error_of(body) {
                // It ended by itself meanwhile.
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

fn error_of(body: &[u8]) -> std::io::Result<()> {
    match body
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .map(i32::from_ne_bytes)
    {
        Some(0) => Ok(()),
        Some(code) => Err(std::io::Error::from_raw_os_error(-code)),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// (type, what follows the header) of each netlink message.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (
        bytes
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_ne_bytes),
        u16_at(bytes, 4),
    ) {
        let Some(body) = bytes.get(16..length as usize) else {
            break;
        };
        found.push((kind, body));
        bytes = bytes
            .get((length as usize).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// (type without flags, value) of each attribute.
fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut found = BTreeMap::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let Some(value) = bytes.get(4..usize::from(length)) else {
            break;
        };
        found.insert(kind & 0x3fff, value);
        bytes = bytes
            .get(usize::from(length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let all = attributes(bytes);
    let original = *all.get(&kernel::CTA_TUPLE_ORIG)?;
    let tuple = attributes(original);
    let proto = attributes(tuple.get(&kernel::CTA_TUPLE_PROTO)?);
    let reply = attributes(all.get(&kernel::CTA_TUPLE_REPLY)?);
    Some(Entry {
        protocol: *proto.get(&kernel::CTA_PROTO_NUM)?.first()?,
        to: address(tuple.get(&kernel::CTA_TUPLE_IP)?, kernel::CTA_IP_V4_DST)?,
        port: u16::from_be_bytes((*proto.get(&kernel::CTA_PROTO_DST_PORT)?).try_into().ok()?),
        answers: address(reply.get(&kernel::CTA_TUPLE_IP)?, kernel::CTA_IP_V4_SRC)?,
        original: original.to_vec(),
    })
}

fn address(bytes: &[u8], kind: u16) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = (*attributes(bytes).get(&kind)?).try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::services::rules::tests::plan;

    #[test]
    fn only_lost_clients_are_forgotten() {
        let udp = |endpoints: &[u8]| PortPlan {
            protocol: Protocol::Udp,
            node_port: Some(30053),
            ..plan("a", 1, endpoints)
        };
        let mut wanted = Wanted::default();
        wanted.add(&[udp(&[2, 3])], &[udp(&[3])]);
        wanted.add(&[plan("tcp", 9, &[2])], &[]);
        let entry = |protocol, to: [u8; 4], port, answers: [u8; 4]| Entry {
            protocol,
            to: to.into(),
            port,
            answers: answers.into(),
            original: vec![],
        };
        let cases = [
            (
                entry(17, [10, 96, 0, 1], 80, [10, 244, 0, 2]),
                true,
                "an endpoint that left",
            ),
            (
                entry(17, [10, 96, 0, 1], 80, [10, 244, 0, 3]),
                false,
                "one that stays",
            ),
            (
                entry(17, [10, 96, 0, 1], 80, [10, 96, 0, 1]),
                true,
                "never translated, while there was none",
            ),
            (
                entry(17, [10, 96, 0, 1], 81, [10, 244, 0, 2]),
                false,
                "another port",
            ),
            (entry(6, [10, 96, 0, 9], 80, [10, 244, 0, 2]), false, "TCP"),
            (
                entry(17, [10, 89, 0, 2], 30053, [10, 244, 0, 2]),
                true,
                "by node port",
            ),
            (
                entry(17, [10, 244, 0, 7], 30053, [10, 244, 0, 7]),
                false,
                "a pod with that port",
            ),
        ];
        for (entry, stale, what) in cases {
            assert_eq!(wanted.is_stale(&entry), stale, "{what}");
        }
    }

    #[test]
    fn entries_are_read() {
        let tuple = |src: [u8; 4], dst: [u8; 4], port: u16| {
            let ip = [
                attribute_bytes(kernel::CTA_IP_V4_SRC, &src),
                attribute_bytes(kernel::CTA_IP_V4_DST, &dst),
            ]
            .concat();
            let proto = [
                attribute_bytes(kernel::CTA_PROTO_NUM, &[17]),
                attribute_bytes(kernel::CTA_PROTO_DST_PORT, &port.to_be_bytes()),
            ]
            .concat();
            [
                attribute_bytes(kernel::CTA_TUPLE_IP | kernel::NESTED, &ip),
                attribute_bytes(kernel::CTA_TUPLE_PROTO | kernel::NESTED, &proto),
            ]
            .concat()
        };
        let original = tuple([10, 0, 0, 1], [10, 96, 0, 1], 53);
        let reply = tuple([10, 244, 0, 2], [10, 0, 0, 1], 4000);
        let bytes = [
            attribute_bytes(kernel::CTA_TUPLE_ORIG, &original),
            attribute_bytes(kernel::CTA_TUPLE_REPLY, &reply),
        ]
        .concat();
        let got = entry(&bytes).unwrap();
        assert_eq!(
            (got.protocol, got.to, got.port, got.answers),
            (17, [10, 96, 0, 1].into(), 53, [10, 244, 0, 2].into())
        );
        assert_eq!(got.original, original);
        let two = [
            message(kernel::CT_GET, 0, &bytes),
            message(kernel::NLMSG_DONE, 0, &[]),
        ]
        .concat();
        assert_eq!(
            messages(&two).iter().map(|m| m.0).collect::<Vec<_>>(),
            [kernel::CT_GET, kernel::NLMSG_DONE]
        );
        assert!(entry(&[1, 2, 3]).is_none() && messages(&[9; 7]).is_empty());
    }
}
