//! Links, addresses and routes through netlink, as the few idempotent operations that this crate needs, each error naming what was tried.
//!
//! Invariant: adding what is there and removing what is gone succeed.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType},
};

use super::{
    Error, failed,
    messages::{
        address_message, address_of, carries, destination, gateway, hardware, link, link_of, only,
        raised, route_message,
    },
    netlink::{How, Netlink},
    ns::Namespace,
};

/// Marks routes as ours (`ip route` shows `proto 98`): a number that no routing daemon has registered in `rt_protos`.
const ROUTE_PROTOCOL: u8 = 98;

/// The mark of routes that follow the Node objects, so that whoever keeps them can tell them from the others.
pub const NODE_ROUTE_PROTOCOL: u8 = 99;

/// How long an interface may take to come up: the kernel looks once a second at the latest.
const CARRIES_AFTER: Duration = Duration::from_secs(5);

/// A netlink socket in one namespace; cheap to clone.
#[derive(Clone)]
pub struct Links {
    netlink: Arc<Mutex<Netlink>>,
    protocol: u8,
    /// Of the routes that are added.
    metric: Option<u32>,
}

/// A route that bears the mark of the connection that sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRoute {
    pub to: IpNet,
    pub via: Option<IpAddr>,
    /// Interface index.
    pub link: u32,
}

/// The far end of a veth pair that is to be made.
pub struct Peer<'a> {
    pub name: &'a str,
    pub namespace: &'a Namespace,
    /// The addresses that it will be given: its hardware address follows from them.
    pub addresses: &'a [IpAddr],
}

impl Links {
    /// Opens a socket inside `ns`.
    pub async fn open(ns: &Namespace) -> Result<Self, Error> {
        Self::open_as(ns, ROUTE_PROTOCOL).await
    }

    /// The same with a route protocol of its own: it adds and sees only routes with that mark.
    pub async fn open_as(ns: &Namespace, protocol: u8) -> Result<Self, Error> {
        let netlink = ns
            .call(Netlink::open)
            .await?
            .map_err(|e| failed("open a netlink socket", e))?;
        Ok(Links {
            netlink: Arc::new(Mutex::new(netlink)),
            protocol,
            metric: None,
        })
    }

    /// Routes that are added from now on have this metric: they stand beside those of others to the same networks.
    pub fn with_metric(self, metric: u32) -> Self {
        Links {
            metric: Some(metric),
            ..self
        }
    }

    /// Asks the kernel, on a thread that may wait for its locks.
    async fn ask(
        &self,
        message: RouteNetlinkMessage,
        how: How,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let netlink = self.netlink.clone();
        let asked = tokio::task::spawn_blocking(move || {
            netlink
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ask(message, how)
        });
        asked
            .await
            .unwrap_or_else(|broken| Err(io::Error::other(broken)))
    }

    /// Asks for a change. `as_good`: what the kernel says when nothing has to be changed.
    async fn change(
        &self,
        message: RouteNetlinkMessage,
        how: How,
        as_good: &[i32],
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match self.ask(message, how).await {
            Err(e) if !is(&e, as_good) => Err(failed(what(), e)),
            _ => Ok(()),
        }
    }

    async fn links(&self, message: LinkMessage, how: How) -> io::Result<Vec<LinkMessage>> {
        let found = self.ask(RouteNetlinkMessage::GetLink(message), how).await?;
        Ok(found
            .into_iter()
            .filter_map(only!(RouteNetlinkMessage::NewLink))
            .collect())
    }

    /// Interface index by name.
    pub async fn index(&self, name: &str) -> Result<Option<u32>, Error> {
        let wanted = link(0, vec![LinkAttribute::IfName(name.to_owned())]);
        match self.links(wanted, How::Read).await {
            Ok(found) => Ok(found.first().map(|link| link.header.index)),
            Err(e) if is(&e, &[libc::ENODEV]) => Ok(None),
            Err(e) => Err(failed(format!("find interface {name}"), e)),
        }
    }

    /// Waits until what is sent through an interface that was just made arrives: the kernel brings it up in its own time, and until then drops what
    /// comes, for which a client waits a second or five.
    pub async fn carries(&self, index: u32) -> Result<(), Error> {
        let what = || format!("wait for interface {index}");
        let begun = Instant::now();
        loop {
            let found = self
                .links(link(index, Vec::new()), How::Read)
                .await
                .map_err(|e| failed(what(), e))?;
            if found.first().is_some_and(carries) {
                return Ok(());
            }
            if begun.elapsed() > CARRIES_AFTER {
                return Err(failed(
                    what(),
                    format!("it does not come up within {CARRIES_AFTER:?}"),
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Interface index by name; absence is an error.
    pub async fn need(&self, name: &str) -> Result<u32, Error> {
        self.index(name)
            .await?
            .ok_or_else(|| failed(format!("find interface {name}"), "it does not exist"))
    }

    /// All interfaces: name to (index, MTU).
    pub async fn all(&self) -> Result<BTreeMap<String, (u32, u32)>, Error> {
        let links = self
            .links(LinkMessage::default(), How::List)
            .await
            .map_err(|e| failed("list interfaces", e))?;
        Ok(links
            .into_iter()
            .filter_map(|link| {
                let (mut name, mut mtu) = (None, 0);
                for attribute in link.attributes {
                    match attribute {
                        LinkAttribute::IfName(n) => name = Some(n),
                        LinkAttribute::Mtu(m) => mtu = m,
                        _ => {}
                    }
                }
                Some((name?, (link.header.index, mtu)))
            })
            .collect())
    }

    /// Makes a bridge with the MTU and the address, up; returns its index.
    pub async fn bridge(
        &self,
        name: &str,
        mtu: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<u32, Error> {
        let net = IpNet::new(address, prefix_len)
            .map_err(|e| failed(format!("make bridge {name}"), e))?;
        let index = self.bridge_down(name, mtu).await?;
        self.raise_bridge(index, &[net]).await?;
        Ok(index)
    }

    /// Gives a bridge its addresses, and brings it up. Its hardware address is its own: one without takes the lowest among its ports', which changes as
    /// they come and go, and all behind it send to the old one until they ask again.
    pub async fn raise_bridge(&self, index: u32, addresses: &[IpNet]) -> Result<(), Error> {
        let ips: Vec<_> = addresses.iter().map(IpNet::addr).collect();
        let up = raised(link(index, vec![hardware(&ips)]));
        self.set(up, "up, with an address of its own").await?;
        for net in addresses {
            self.add_address(index, net.addr(), net.prefix_len())
                .await?;
        }
        Ok(())
    }

    /// Makes a bridge with the MTU, still down, or finds it as it is; returns its index.
    pub async fn bridge_down(&self, name: &str, mtu: u32) -> Result<u32, Error> {
        Ok(match self.index(name).await? {
            Some(index) => index,
            None => {
                let attributes = vec![
                    LinkAttribute::IfName(name.to_owned()),
                    LinkAttribute::Mtu(mtu),
                    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
                ];
                let message = RouteNetlinkMessage::NewLink(link(0, attributes));
                let what = || format!("make bridge {name}");
                self.change(message, How::Create, &[libc::EEXIST], what)
                    .await?;
                self.need(name).await?
            }
        })
    }

    /// Makes a veth pair anew: what was left of one is taken away, one end without the other too.
    pub async fn cable(
        &self,
        name: &str,
        controller: u32,
        peer: Peer<'_>,
        mtu: u32,
    ) -> Result<(), Error> {
        self.delete(name).await?;
        self.veth(name, controller, peer, mtu).await
    }

    /// Makes a veth pair: `name` here and up, its peer in its namespace and still down, both with the MTU, `name` in bridge `controller`.
    pub async fn veth(
        &self,
        name: &str,
        controller: u32,
        peer: Peer<'_>,
        mtu: u32,
    ) -> Result<(), Error> {
        let namespace = LinkAttribute::NetNsFd(peer.namespace.raw_fd());
        let peer = link(
            0,
            vec![
                LinkAttribute::IfName(peer.name.to_owned()),
                LinkAttribute::Mtu(mtu),
                namespace,
                hardware(peer.addresses),
            ],
        );
        let info = vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ];
        let attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Controller(controller),
            LinkAttribute::LinkInfo(info),
        ];
        let message = RouteNetlinkMessage::NewLink(raised(link(0, attributes)));
        self.change(message, How::Create, &[], || {
            format!("make interface {name}")
        })
        .await
    }

    /// Lets a port of a bridge send back what it received: where the kernel filters bridged frames, a pod reaches itself through a service that way.
    pub async fn hairpin(&self, index: u32) -> Result<(), Error> {
        let port = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)]);
        let info = LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(port),
        ]);
        let message = RouteNetlinkMessage::NewLink(link(index, vec![info]));
        let what = || format!("let bridge port {index} send back");
        self.change(message, How::Change, &[], what).await
    }

    pub async fn up(&self, index: u32) -> Result<(), Error> {
        self.set(raised(link(index, Vec::new())), "up").await
    }

    pub async fn down(&self, index: u32) -> Result<(), Error> {
        let mut message = link(index, Vec::new());
        message.header.change_mask = LinkFlags::Up;
        self.set(message, "down").await
    }

    async fn set(&self, message: LinkMessage, what: &str) -> Result<(), Error> {
        let index = message.header.index;
        let what = || format!("set interface {index} {what}");
        self.change(
            RouteNetlinkMessage::SetLink(message),
            How::Change,
            &[],
            what,
        )
        .await
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let Some(index) = self.index(name).await? else {
            return Ok(());
        };
        let message = RouteNetlinkMessage::DelLink(link(index, Vec::new()));
        let what = || format!("delete interface {name}");
        self.change(message, How::Change, &[libc::ENODEV], what)
            .await
    }

    pub async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, address, prefix_len));
        let what = || format!("give address {address}/{prefix_len} to interface {index}");
        self.change(message, How::Create, &[libc::EEXIST], what)
            .await
    }

    pub async fn delete_address(&self, index: u32, address: IpAddr) -> Result<(), Error> {
        let all = self
            .address_messages()
            .await
            .map_err(|e| failed(format!("find address {address}"), e))?;
        for message in all
            .into_iter()
            .filter(|m| m.header.index == index && address_of(m) == Some(address))
        {
            let message = RouteNetlinkMessage::DelAddress(message);
            let what = || format!("take address {address} from interface {index}");
            self.change(message, How::Change, &[libc::EADDRNOTAVAIL], what)
                .await?;
        }
        Ok(())
    }

    async fn address_messages(&self) -> io::Result<Vec<AddressMessage>> {
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.ask(message, How::List).await?;
        Ok(found
            .into_iter()
            .filter_map(only!(RouteNetlinkMessage::NewAddress))
            .collect())
    }

    /// Addresses of all interfaces, with prefix lengths.
    pub async fn addresses(&self) -> Result<Vec<(u32, IpNet)>, Error> {
        let all = self
            .address_messages()
            .await
            .map_err(|e| failed("list addresses", e))?;
        Ok(all
            .iter()
            .filter_map(|m| {
                Some((
                    m.header.index,
                    IpNet::new(address_of(m)?, m.header.prefix_len).ok()?,
                ))
            })
            .collect())
    }

    /// Adds or replaces the route to `to`, via a gateway (`onlink`: it needs no route of its own) or straight onto the link.
    pub async fn route(&self, to: IpNet, via: Option<IpAddr>, link: u32) -> Result<(), Error> {
        let mut message = route_message(to, via, link, self.protocol);
        message
            .attributes
            .extend(self.metric.map(RouteAttribute::Priority));
        let message = RouteNetlinkMessage::NewRoute(message);
        self.change(message, How::Replace, &[], || {
            format!("add a route to {to}")
        })
        .await
    }

    pub async fn delete_route(&self, route: &OwnRoute) -> Result<(), Error> {
        let to = route.to;
        let message = route_message(to, route.via, route.link, self.protocol);
        let message = RouteNetlinkMessage::DelRoute(message);
        let what = || format!("delete the route to {to}");
        self.change(message, How::Change, &[libc::ESRCH, libc::ENODEV], what)
            .await
    }

    /// The routes of one family, of all protocols, in the main table.
    async fn routes(&self, ipv6: bool) -> Result<Vec<RouteMessage>, Error> {
        let mut filter = RouteMessage::default();
        filter.header.address_family = if ipv6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let all = self
            .ask(RouteNetlinkMessage::GetRoute(filter), How::List)
            .await
            .map_err(|e| failed("list routes", e))?;
        let routes = all
            .into_iter()
            .filter_map(only!(RouteNetlinkMessage::NewRoute));
        Ok(routes
            .filter(|r| {
                r.header.table == RouteHeader::RT_TABLE_MAIN && r.header.kind == RouteType::Unicast
            })
            .collect())
    }

    /// The routes with this connection's mark.
    pub async fn own_routes(&self) -> Result<Vec<OwnRoute>, Error> {
        let mut found = Vec::new();
        for ipv6 in [false, true] {
            for route in self
                .routes(ipv6)
                .await?
                .iter()
                .filter(|r| r.header.protocol == RouteProtocol::Other(self.protocol))
            {
                if let (Some(to), Some(link)) = (destination(route), link_of(route)) {
                    found.push(OwnRoute {
                        to,
                        via: gateway(route),
                        link,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Networks that routes and addresses of this machine already lead to, default routes left out.
    pub async fn taken(&self) -> Result<Vec<IpNet>, Error> {
        let mut routed = Vec::new();
        for ipv6 in [false, true] {
            let routes = self.routes(ipv6).await?;
            let to = routes.iter().filter_map(destination);
            routed.extend(to.filter(|n| n.prefix_len() > 0));
        }
        Ok(routed
            .into_iter()
            .chain(self.addresses().await?.into_iter().map(|(_, n)| n.trunc()))
            .collect())
    }

    /// Name, index and MTU of the interface that the default route leaves by, that of IPv4 if there is one.
    pub async fn default_link(&self) -> Result<Option<(String, u32, u32)>, Error> {
        let mut found = None;
        for ipv6 in [false, true] {
            if found.is_none() {
                let routes = self.routes(ipv6).await?;
                let mut defaults = routes
                    .iter()
                    .filter(|r| r.header.destination_prefix_length == 0);
                found = defaults.find_map(link_of);
            }
        }
        let Some(index) = found else {
            return Ok(None);
        };
        Ok(self
            .all()
            .await?
            .into_iter()
            .find(|(_, (i, _))| *i == index)
            .map(|(name, (_, mtu))| (name, index, mtu)))
    }
}

fn is(error: &io::Error, codes: &[i32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}
