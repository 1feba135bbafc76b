//! Forgetting the kernel's connection entries of UDP (and SCTP) clients whose endpoint is gone: as such a client keeps its port, its packets would go
//! there, or nowhere, for as long as it keeps sending.
//!
//! Invariant: only entries towards an address of the given services are touched, and of those only the ones that do not lead to a present endpoint.
//! Follows `pkg/proxy/conntrack/cleanup.go` upstream.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::Socket;

use super::{
    super::{
        Error, failed,
        family::IpFamily,
        nft::socket,
        ns::Namespace,
        wire::{self, ACK, DUMP, Writer},
    },
    plan::PortPlan,
};
use crate::network::protocol::Protocol;

/// From `linux/netfilter/nfnetlink_conntrack.h`.
mod kernel {
    pub const CT_GET: u16 = 1 << 8 | 1;
    pub const CT_DELETE: u16 = 1 << 8 | 2;
    pub const CTA_TUPLE_ORIG: u16 = 1;
    pub const CTA_TUPLE_REPLY: u16 = 2;
    pub const CTA_TUPLE_IP: u16 = 1;
    pub const CTA_TUPLE_PROTO: u16 = 2;
    pub const CTA_IP_V4_SRC: u16 = 1;
    pub const CTA_IP_V4_DST: u16 = 2;
    pub const CTA_IP_V6_SRC: u16 = 3;
    pub const CTA_IP_V6_DST: u16 = 4;
    pub const CTA_PROTO_NUM: u16 = 1;
    pub const CTA_PROTO_SRC_PORT: u16 = 2;
    pub const CTA_PROTO_DST_PORT: u16 = 3;
}

/// An entry: where the client sent to, who answers, and the bytes that name the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    protocol: u8,
    to: IpAddr,
    port: u16,
    answers: SocketAddr,
    original: Vec<u8>,
}

/// The addresses of changed services and the endpoints that each leads to now.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    ips: BTreeMap<(u8, IpAddr, u16), BTreeSet<SocketAddr>>,
    node_ports: BTreeMap<(u8, u16), BTreeSet<SocketAddr>>,
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
                other => other.number(),
            };
            let endpoints = || {
                plan.reachable()
                    .into_iter()
                    .map(|e| SocketAddr::new(e.ip, e.port))
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
                .filter(|_| entry.answers.ip() != entry.to)
        };
        by_ip
            .or_else(by_port)
            .is_some_and(|endpoints| !endpoints.contains(&entry.answers))
    }
}

/// Deletes the stale entries of a family inside `ns`; returns how many there were.
pub async fn clean(ns: &Namespace, family: IpFamily, wanted: Wanted) -> Result<usize, Error> {
    ns.call(move || {
        let socket = socket::open()?;
        let stale: Vec<_> = dump(&socket, family)?
            .into_iter()
            .filter(|e| wanted.is_stale(e))
            .collect();
        for entry in &stale {
            delete(&socket, family, entry)?;
        }
        Ok(stale.len())
    })
    .await?
    .map_err(|e: io::Error| failed("clear connection entries", e))
}

fn request(
    (kind, flags): (u16, u16),
    family: IpFamily,
    body: impl FnOnce(&mut Writer),
) -> io::Result<Vec<u8>> {
    let mut writer = Writer::default();
    let family = match family {
        IpFamily::V4 => libc::AF_INET,
        IpFamily::V6 => libc::AF_INET6,
    };
    writer.message((kind, flags, 0), (family as u8, 0), body);
    writer.finish()
}

fn dump(socket: &Socket, family: IpFamily) -> io::Result<Vec<Entry>> {
    let all = socket::list(socket, &request((kernel::CT_GET, DUMP), family, |_| {})?)?;
    Ok(all.iter().filter_map(|bytes| entry(bytes)).collect())
}

fn delete(socket: &Socket, family: IpFamily, entry: &Entry) -> io::Result<()> {
    let request = request((kernel::CT_DELETE, ACK), family, |w| {
        w.nest(kernel::CTA_TUPLE_ORIG, |w| w.bytes.extend(&entry.original));
    });
    match socket::ask(socket, &request?) {
        // It ended by itself meanwhile.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(drop),
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let original = wire::attribute(bytes, kernel::CTA_TUPLE_ORIG)?;
    let proto = wire::attribute(original, kernel::CTA_TUPLE_PROTO)?;
    let port = wire::attribute(proto, kernel::CTA_PROTO_DST_PORT)?;
    let reply = wire::attribute(bytes, kernel::CTA_TUPLE_REPLY)?;
    let ip = |tuple| wire::attribute(tuple, kernel::CTA_TUPLE_IP);
    let from = wire::attribute(reply, kernel::CTA_TUPLE_PROTO)?;
    let from = wire::attribute(from, kernel::CTA_PROTO_SRC_PORT)?;
    let answers = address(ip(reply)?, kernel::CTA_IP_V4_SRC, kernel::CTA_IP_V6_SRC)?;
    Some(Entry {
        protocol: *wire::attribute(proto, kernel::CTA_PROTO_NUM)?.first()?,
        to: address(ip(original)?, kernel::CTA_IP_V4_DST, kernel::CTA_IP_V6_DST)?,
        port: u16::from_be_bytes(port.try_into().ok()?),
        answers: SocketAddr::new(answers, u16::from_be_bytes(from.try_into().ok()?)),
        original: original.to_vec(),
    })
}

/// The address that is there, whichever of the two.
fn address(bytes: &[u8], v4: u16, v6: u16) -> Option<IpAddr> {
    if let Some(octets) = wire::attribute(bytes, v4) {
        let octets: [u8; 4] = octets.try_into().ok()?;
        return Some(octets.into());
    }
    let octets: [u8; 16] = wire::attribute(bytes, v6)?.try_into().ok()?;
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
            answers: (answers, 8080).into(),
            original: vec![],
        };
        let elsewhere = Entry {
            answers: ([10, 244, 0, 3], 9090).into(),
            ..entry(17, [10, 96, 0, 1], 80, [10, 244, 0, 3])
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
            (elsewhere, true, "one that stays, at a port of before"),
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
        let tuple = |src: [u8; 4], dst: [u8; 4], (from, port): (u16, u16)| {
            let mut w = Writer::default();
            w.nest(kernel::CTA_TUPLE_IP, |w| {
                w.attribute(kernel::CTA_IP_V4_SRC, &src);
                w.attribute(kernel::CTA_IP_V4_DST, &dst);
            });
            w.nest(kernel::CTA_TUPLE_PROTO, |w| {
                w.attribute(kernel::CTA_PROTO_NUM, &[17]);
                w.attribute(kernel::CTA_PROTO_SRC_PORT, &from.to_be_bytes());
                w.attribute(kernel::CTA_PROTO_DST_PORT, &port.to_be_bytes());
            });
            w.bytes
        };
        let original = tuple([10, 0, 0, 1], [10, 96, 0, 1], (4000, 53));
        let reply = tuple([10, 244, 0, 2], [10, 0, 0, 1], (8053, 4000));
        let mut w = Writer::default();
        w.attribute(kernel::CTA_TUPLE_ORIG, &original);
        w.attribute(kernel::CTA_TUPLE_REPLY, &reply);
        let bytes = w.bytes;
        let got = entry(&bytes).unwrap();
        assert_eq!(
            (got.protocol, got.to, got.port, got.answers),
            (
                17,
                [10, 96, 0, 1].into(),
                53,
                ([10, 244, 0, 2], 8053).into()
            )
        );
        assert_eq!(got.original, original);
        assert!(entry(&[1, 2, 3]).is_none());
    }
}
