//! Links, addresses and routes through rtnetlink, as the few idempotent operations that this crate needs, each error naming what was tried.
//!
//! Invariant: adding what is there and removing what is gone succeed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoVeth, LinkAttribute},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    },
};
use tokio::task::AbortHandle;

use super::{Error, failed, ns::Namespace};

/// Marks routes as ours (`ip route` shows `proto 98`): a number that no routing daemon has registered in `rt_protos`.
const ROUTE_PROTOCOL: u8 = 98;

/// The mark of routes that follow the Node objects, so that whoever keeps them can tell them from the others.
pub const NODE_ROUTE_PROTOCOL: u8 = 99;

/// A netlink connection into one namespace.
#[derive(Clone)]
pub struct Links {
    handle: Handle,
    protocol: u8,
    /// Of the routes that are added.
    metric: Option<u32>,
    _connection: std::sync::Arc<Connection>,
}

struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A route that bears the mark of the connection that sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRoute {
    pub to: IpNet,
    pub via: Option<IpAddr>,
    /// Interface index.
    pub link: u32,
}

impl Links {
    /// Opens a connection inside `ns`, polled by the current tokio runtime.
    pub async fn open(ns: &Namespace) -> Result<Self, Error> {
        Self::open_as(ns, ROUTE_PROTOCOL).await
    }

    /// The same with a route protocol of its own: it adds and sees only routes with that mark.
    pub async fn open_as(ns: &Namespace, protocol: u8) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = ns
            .call(move || {
                let _in_runtime = runtime.enter();
                rtnetlink::new_connection()
            })
            .await?
            .map_err(|e| failed("open a netlink socket", e))?;
        let task = tokio::spawn(connection);
        Ok(Links { handle, protocol, metric: None, _connection: std::sync::Arc::new(Connection(task.abort_handle())) })
    }

    /// Routes that are added from now on have this metric: they stand beside those of others to the same networks.
    pub fn with_metric(self, metric: u32) -> Self {
        Links { metric: Some(metric), ..self }
    }

    /// Interface index by name.
    pub async fn index(&self, name: &str) -> Result<Option<u32>, Error> {
        match self.handle.link().get().match_name(name).execute().try_next().await {
            Ok(link) => Ok(link.map(|l| l.header.index)),
            Err(e) if is(&e, &[libc::ENODEV]) => Ok(None),
            Err(e) => Err(failed(format!("find interface {name}"), e)),
        }
    }

    /// Interface index by name; absence is an error.
    pub async fn need(&self, name: &str) -> Result<u32, Error> {
        self.index(name).await?.ok_or_else(|| failed(format!("find interface {name}"), "it does not exist"))
    }

    /// All interfaces: name to (index, MTU).
    pub async fn all(&self) -> Result<BTreeMap<String, (u32, u32)>, Error> {
        let links: Vec<_> = self.handle.link().get().execute().try_collect().await.map_err(|e| failed("list interfaces", e))?;
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

    /// Makes a bridge with the MTU, up; returns its index.
    pub async fn bridge(&self, name: &str, mtu: u32) -> Result<u32, Error> {
        let index = match self.index(name).await? {
            Some(index) => index,
            None => {
                let made = self.handle.link().add(LinkBridge::new(name).mtu(mtu).up().build()).execute().await;
                fine(made, &[libc::EEXIST]).map_err(|e| failed(format!("make bridge {name}"), e))?;
                self.need(name).await?
            }
        };
        self.up(index).await?;
        Ok(index)
    }

    /// Makes a veth pair: `name` here and up, its peer `peer` in `peer_ns` and still down, both with the MTU, `name` in bridge `controller`.
    pub async fn veth(&self, name: &str, controller: u32, peer: &str, peer_ns: &Namespace, mtu: u32) -> Result<(), Error> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(peer).mtu(mtu).setns_by_fd(peer_ns.raw_fd()).build();
        let link = LinkVeth::new(name, "").set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).mtu(mtu).controller(controller).up().build();
        let made = self.handle.link().add(link).execute().await;
        made.map_err(|e| failed(format!("make interface {name}"), e))
    }

    /// Lets a port of a bridge send back what it received: where the kernel filters bridged frames, a pod reaches itself through a service that way.
    pub async fn hairpin(&self, index: u32) -> Result<(), Error> {
        let message = LinkBridgePort::new(index).hairpin(true).build();
        self.handle.link().set_port(message).execute().await.map_err(|e| failed(format!("let bridge port {index} send back"), e))
    }

    pub async fn up(&self, index: u32) -> Result<(), Error> {
        self.set(LinkUnspec::new_with_index(index).up(), "up", index).await
    }

    pub async fn down(&self, index: u32) -> Result<(), Error> {
        self.set(LinkUnspec::new_with_index(index).down(), "down", index).await
    }

    async fn set(&self, message: LinkMessageBuilder<LinkUnspec>, what: &str, index: u32) -> Result<(), Error> {
        self.handle.link().change(message.build()).execute().await.map_err(|e| failed(format!("set interface {index} {what}"), e))
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let Some(index) = self.index(name).await? else { return Ok(()) };
        let gone = self.handle.link().del(index).execute().await;
        fine(gone, &[libc::ENODEV]).map_err(|e| failed(format!("delete interface {name}"), e))
    }

    pub async fn add_address(&self, index: u32, address: IpAddr, prefix_len: u8) -> Result<(), Error> {
        let added = self.handle.address().add(index, address, prefix_len).execute().await;
        fine(added, &[libc::EEXIST]).map_err(|e| failed(format!("give address {address}/{prefix_len} to interface {index}"), e))
    }

    pub async fn delete_address(&self, index: u32, address: IpAddr) -> Result<(), Error> {
        let found: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .set_address_filter(address)
            .execute()
            .try_collect()
            .await
            .map_err(|e| failed(format!("find address {address}"), e))?;
        for message in found {
            let gone = self.handle.address().del(message).execute().await;
            fine(gone, &[libc::EADDRNOTAVAIL]).map_err(|e| failed(format!("take address {address} from interface {index}"), e))?;
        }
        Ok(())
    }

    /// Addresses of all interfaces, with prefix lengths.
    pub async fn addresses(&self) -> Result<Vec<(u32, IpNet)>, Error> {
        use rtnetlink::packet_route::address::AddressAttribute;
        let all: Vec<_> = self.handle.address().get().execute().try_collect().await.map_err(|e| failed("list addresses", e))?;
        Ok(all
            .into_iter()
            .filter_map(|m| {
                let of = |want_local: bool| {
                    m.attributes.iter().find_map(|a| match a {
                        AddressAttribute::Local(ip) if want_local => Some(*ip),
                        AddressAttribute::Address(ip) if !want_local => Some(*ip),
                        _ => None,
                    })
                };
                let ip = of(true).or_else(|| of(false))?;
                Some((m.header.index, IpNet::new(ip, m.header.prefix_len).ok()?))
            })
            .collect())
    }

    /// Adds or replaces the route to `to`, via a gateway (`onlink`: it needs no route of its own) or straight onto the link.
    pub async fn route(&self, to: IpNet, via: Option<IpAddr>, link: u32) -> Result<(), Error> {
        let mut message = route_message(to, via, link, self.protocol)?;
        message.attributes.extend(self.metric.map(RouteAttribute::Priority));
        self.handle.route().add(message).replace().execute().await.map_err(|e| failed(format!("add a route to {to}"), e))
    }

    pub async fn delete_route(&self, route: &OwnRoute) -> Result<(), Error> {
        let to = route.to;
        let message = route_message(to, route.via, route.link, self.protocol)?;
        let gone = self.handle.route().del(message).execute().await;
        fine(gone, &[libc::ESRCH, libc::ENODEV]).map_err(|e| failed(format!("delete the route to {to}"), e))
    }

    /// The routes of one family, of all protocols, in the main table.
    async fn routes(&self, ipv6: bool) -> Result<Vec<RouteMessage>, Error> {
        let filter = if ipv6 { RouteMessageBuilder::<Ipv6Addr>::new().build() } else { RouteMessageBuilder::<Ipv4Addr>::new().build() };
        let all: Vec<_> = self.handle.route().get(filter).execute().try_collect().await.map_err(|e| failed("list routes", e))?;
        Ok(all.into_iter().filter(|r| r.header.table == 254 && r.header.kind == RouteType::Unicast).collect())
    }

    /// The routes with this connection's mark.
    pub async fn own_routes(&self) -> Result<Vec<OwnRoute>, Error> {
        let mut found = Vec::new();
        for ipv6 in [false, true] {
            for route in self.routes(ipv6).await?.iter().filter(|r| r.header.protocol == RouteProtocol::Other(self.protocol)) {
                if let (Some(to), Some(link)) = (destination(route), link_of(route)) {
                    found.push(OwnRoute { to, via: gateway(route), link });
                }
            }
        }
        Ok(found)
    }

    /// IPv4 networks that routes and addresses of this machine already lead to, default routes left out.
    pub async fn taken(&self) -> Result<Vec<IpNet>, Error> {
        let routed = self.routes(false).await?.iter().filter_map(destination).filter(|n| n.prefix_len() > 0).collect::<Vec<_>>();
        Ok(routed.into_iter().chain(self.addresses().await?.into_iter().map(|(_, n)| n.trunc())).collect())
    }

    /// Name, index and MTU of the interface that the IPv4 default route leaves by.
    pub async fn default_link(&self) -> Result<Option<(String, u32, u32)>, Error> {
        let routes = self.routes(false).await?;
        let Some(index) = routes.iter().filter(|r| r.header.destination_prefix_length == 0).find_map(link_of) else { return Ok(None) };
        Ok(self.all().await?.into_iter().find(|(_, (i, _))| *i == index).map(|(name, (_, mtu))| (name, index, mtu)))
    }
}

fn destination(route: &RouteMessage) -> Option<IpNet> {
    let zero = match route.header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let ip = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(to) => address(to),
        _ => None,
    });
    IpNet::new(ip.unwrap_or(zero), route.header.destination_prefix_length).ok()
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(via) => address(via),
        _ => None,
    })
}

fn link_of(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    })
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn route_message(to: IpNet, via: Option<IpAddr>, link: u32, protocol: u8) -> Result<RouteMessage, Error> {
    let what = || format!("make a route to {to}");
    let message = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to.network(), to.prefix_len()).map_err(|e| failed(what(), e))?;
    let message = message.output_interface(link).protocol(RouteProtocol::Other(protocol));
    Ok(match via {
        Some(via) => message.gateway(via).map_err(|e| failed(what(), e))?.onlink().build(),
        None => message.scope(RouteScope::Link).build(),
    })
}

fn is(error: &rtnetlink::Error, codes: &[i32]) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(e) if codes.contains(&-e.raw_code()))
}

fn fine(result: Result<(), rtnetlink::Error>, codes: &[i32]) -> Result<(), rtnetlink::Error> {
    match result {
        Err(e) if is(&e, codes) => Ok(()),
        other => other,
    }
}
