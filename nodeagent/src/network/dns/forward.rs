//! Names that are not the cluster's: asked of the machine's own resolvers, from the machine's own network.
//!
//! Invariant: the sockets are made in the upstream namespace, because a stub at 127.0.0.53 is reached only there; `resolv.conf` is read again when it
//! changed; this server never asks itself. Follows the `forward . /etc/resolv.conf` and `cache 30` lines of kubeadm's Corefile.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Resolver,
    config::{ResolveHosts, ResolverConfig},
    net::{
        DnsError, NetError,
        runtime::{
            RuntimeProvider, TokioHandle, TokioRuntimeProvider, iocompat::AsyncIoTokioAsStd,
        },
    },
    proto::{
        op::ResponseCode,
        rr::{Name, RData, Record, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use parking_lot::Mutex;
use tokio::net::{TcpStream, UdpSocket};

use super::super::ns::Namespace;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers are kept no longer, whatever they say of themselves.
const MAX_TTL: Duration = Duration::from_secs(30);

/// What the world says.
#[derive(Clone, Debug, PartialEq)]
pub enum Forwarded {
    Records(Vec<Record>),
    /// No such name, or no such data; the zone's SOA record if it was given.
    Negative(ResponseCode, Option<Box<Record>>),
    /// Nobody could be asked, or nobody answered.
    Failed,
}

type Upstreams = Resolver<InNamespace>;

/// The machine's resolvers.
pub struct Forwarder {
    upstream: Namespace,
    resolv_conf: PathBuf,
    own_ips: Vec<IpAddr>,
    current: Mutex<Option<(SystemTime, Option<Arc<Upstreams>>)>>,
}

impl Forwarder {
    /// `own_ips`: where this server answers, left out of what is asked.
    pub fn new(upstream: Namespace, resolv_conf: PathBuf, own_ips: Vec<IpAddr>) -> Self {
        Forwarder {
            upstream,
            resolv_conf,
            own_ips,
            current: Mutex::new(None),
        }
    }

    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Forwarded {
        let Some(resolver) = self.resolver() else {
            return Forwarded::Failed;
        };
        let mut name = name.clone();
        name.set_fqdn(true);
        match resolver.lookup(name, kind).await {
            Ok(lookup) => Forwarded::Records(lookup.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let soa = none.soa.map(|r| {
                    Box::new(Record::from_rdata(
                        r.name.clone(),
                        r.ttl,
                        RData::SOA(r.data.clone()),
                    ))
                });
                Forwarded::Negative(none.response_code, soa)
            }
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Forwarded::Negative(code, None),
            Err(e) => {
                tracing::debug!("asking the machine's resolvers: {e}");
                Forwarded::Failed
            }
        }
    }

    /// The resolver for `resolv.conf` as it is now; `None` if that names nobody to ask.
    fn resolver(&self) -> Option<Arc<Upstreams>> {
        let changed = std::fs::metadata(&self.resolv_conf)
            .and_then(|m| m.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut current = self.current.lock();
        if let Some((_, resolver)) = current.as_ref().filter(|(at, _)| *at == changed) {
            return resolver.clone();
        }
        let resolver = self.build().inspect_err(|e| {
            tracing::warn!(
                "{}: {e}: names outside of the cluster are not found",
                self.resolv_conf.display()
            )
        });
        let resolver = resolver.ok().map(Arc::new);
        *current = Some((changed, resolver.clone()));
        resolver
    }

    fn build(&self) -> Result<Upstreams, NetError> {
        let (config, mut options) = parse_resolv_conf(std::fs::read(&self.resolv_conf)?)?;
        let servers: Vec<_> = config
            .name_servers()
            .iter()
            .filter(|s| !self.own_ips.contains(&s.ip))
            .cloned()
            .collect();
        if servers.is_empty() {
            return Err(NetError::Message("it names no server but this one"));
        }
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_TTL);
        options.cache_size = 4096;
        let provider = InNamespace {
            ns: self.upstream.clone(),
            tokio: TokioRuntimeProvider::default(),
        };
        let mut builder =
            Resolver::builder_with_config(ResolverConfig::from_name_servers(servers), provider);
        *builder.options_mut() = options;
        builder.build()
    }
}

/// tokio, with sockets made inside a namespace.
#[derive(Clone)]
struct InNamespace {
    ns: Namespace,
    tokio: TokioRuntimeProvider,
}

impl RuntimeProvider for InNamespace {
    type Handle = TokioHandle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        let ns = self.ns.clone();
        Box::pin(async move {
            let connected =
                tokio::time::timeout(timeout.unwrap_or(CONNECT_TIMEOUT), ns.tcp_connect(server))
                    .await;
            connected
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
                .map(AsyncIoTokioAsStd)
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        let ns = self.ns.clone();
        Box::pin(async move { ns.udp_bind(local).await })
    }
}
