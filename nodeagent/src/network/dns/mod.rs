//! Cluster DNS: every node answers its own pods at the cluster's DNS address, which it holds itself, so that no Deployment is needed.
//!
//! Invariant: the cluster's domain is answered from the view alone and never forwarded; everything else goes to the machine's resolvers. Nothing is
//! answered before the view is whole. Follows the Corefile that kubeadm writes for CoreDNS (`cmd/kubeadm/app/phases/addons/dns`).

mod datagrams;
mod forward;
mod index;
mod kept;
mod serve;
mod zone;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_server::{
    Server,
    net::runtime::Time,
    proto::{
        op::{Edns, MessageType, Metadata, OpCode, ResponseCode},
        rr::{Name, Record, RecordType},
    },
    server::{Request, RequestHandler, RequestInfo, ResponseHandler, ResponseInfo},
    zone_handler::{MessageResponse, MessageResponseBuilder},
};
use ipnet::IpNet;
use parking_lot::RwLock;
use rand::seq::SliceRandom;
use tokio_util::sync::CancellationToken;

pub(crate) use self::index::cluster_ips;
use self::{
    forward::{Forwarded, Forwarder},
    index::Index,
    zone::{Answer, Zone},
};
use super::{
    Error, failed,
    link::Links,
    ns::Namespace,
    view::{Change, ClusterView, ObjectName},
};

const PORT: u16 = 53;
const LOOPBACK: u32 = 1;
/// A TCP client that asks nothing for so long is hung up on.
const TCP_IDLE: Duration = Duration::from_secs(10);
const TCP_QUEUE: usize = 128;
/// The most that is sent by UDP, whatever the client says it takes: more would be cut to pieces on the way.
const MAX_UDP_PAYLOAD: u16 = 1232;

/// What a node's DNS server is made from.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The node's own namespace: where it is asked.
    pub node: Namespace,
    /// The machine's namespace: where it asks others.
    pub upstream: Namespace,
    /// Addresses to answer at, put on `lo`: the ClusterIP of `kube-system/kube-dns`.
    pub ips: Vec<IpAddr>,
    /// `cluster.local`.
    pub domain: String,
    /// Usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

/// Runs the DNS server of a node until `stop`. Fails if an address cannot be had or its port 53 is taken.
pub async fn run_dns(
    view: Arc<ClusterView>,
    config: DnsConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    let zone = Zone::new(&config.domain, config.ips.clone())
        .map_err(|e| failed(format!("serve the domain {}", config.domain), e))?;
    let mut changes = view.subscribe();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = view.wait_synced() => {}
    }
    let mut index = Index::default();
    view.service_names()
        .iter()
        .for_each(|name| index.update(name, &view));
    let forwarder = Forwarder::new(
        config.upstream.clone(),
        config.resolv_conf.clone(),
        config.ips.clone(),
    );
    let handler = Arc::new(Handler {
        zone,
        view: view.clone(),
        index: RwLock::new(index),
        generation: AtomicU64::new(0),
        forwarder,
    });
    // what waits for datagrams ends with this, however that ends
    let datagrams = stop.child_token();
    let _ended = datagrams.clone().drop_guard();
    let mut server = Server::new(ByTcp(handler.clone()));
    listen(&mut server, &handler, &config, &datagrams).await?;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            change = changes.recv() => match change {
                Some(Change::Service(name)) => handler.update(&name),
                Some(Change::Node(_)) => {}
                None => break,
            }
        }
    }
    server
        .shutdown_gracefully()
        .await
        .map_err(|e| failed("end the DNS server", e))
}

/// Takes the server's addresses away, those that it was told and those of services; for a machine that leaves its cluster.
pub async fn clear(node: &Namespace, ips: &[IpAddr], service_cidrs: &[IpNet]) -> Result<(), Error> {
    let links = Links::open(node).await?;
    let service = |ip: &IpAddr| service_cidrs.iter().any(|net| net.contains(ip));
    for (link, net) in links.addresses().await? {
        let ip = net.addr();
        if link == LOOPBACK && (ips.contains(&ip) || service(&ip)) {
            links.delete_address(LOOPBACK, ip).await?;
        }
    }
    Ok(())
}

async fn listen(
    server: &mut Server<ByTcp>,
    handler: &Arc<Handler>,
    config: &DnsConfig,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let links = Links::open(&config.node).await?;
    links.up(LOOPBACK).await?;
    for ip in &config.ips {
        let at = SocketAddr::new(*ip, PORT);
        if !ip.is_loopback() {
            links
                .add_address(LOOPBACK, *ip, if ip.is_ipv4() { 32 } else { 128 })
                .await?;
        }
        let failed = |e| failed(format!("answer DNS at {at}"), e);
        let socket = config.node.udp_bind(at).await.map_err(failed)?;
        skiff_watching::task::spawn(serve::serve(handler.clone(), socket, stop.clone()));
        server.register_listener(
            config.node.tcp_listen(at).await.map_err(failed)?,
            TCP_IDLE,
            TCP_QUEUE,
        );
    }
    Ok(())
}

struct Handler {
    zone: Zone,
    view: Arc<ClusterView>,
    index: RwLock<Index>,
    /// Grows after each change of what answers are made from.
    generation: AtomicU64,
    forwarder: Forwarder,
}

/// Questions by TCP, of which there are few.
struct ByTcp(Arc<Handler>);

/// A whole reply before it is put into bytes.
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    soa: Option<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn new(code: ResponseCode) -> Self {
        Reply {
            code,
            authoritative: false,
            answers: vec![],
            soa: None,
            additionals: vec![],
        }
    }
}

/// What only others can answer.
struct Elsewhere {
    /// Aliases that lead there.
    answers: Vec<Record>,
    name: Name,
}

impl Handler {
    fn update(&self, name: &ObjectName) {
        self.index.write().update(name, &self.view);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What the cluster's own names say.
    fn own(&self, name: &Name, kind: RecordType) -> Result<Reply, Elsewhere> {
        let (answer, soa) = {
            let index = self.index.read();
            (
                self.zone.answer(&self.view, &index, name, kind),
                self.zone.soa(&index),
            )
        };
        let own = |code, soa| Reply {
            authoritative: true,
            soa,
            ..Reply::new(code)
        };
        match answer {
            Answer::Records {
                mut answers,
                additionals,
            } => {
                // Clients take the first: each address shall be that now and then. Aliases stay before what they lead to.
                let addresses = answers
                    .iter()
                    .position(|r| r.record_type() == kind)
                    .unwrap_or(0);
                answers[addresses..].shuffle(&mut rand::rng());
                Ok(Reply {
                    answers,
                    additionals,
                    ..own(ResponseCode::NoError, None)
                })
            }
            Answer::NoData => Ok(own(ResponseCode::NoError, Some(soa))),
            Answer::NoName => Ok(own(ResponseCode::NXDomain, Some(soa))),
            Answer::Elsewhere => Err(Elsewhere {
                answers: Vec::new(),
                name: name.clone(),
            }),
            Answer::Alias { answers, target } => Err(Elsewhere {
                answers,
                name: target,
            }),
        }
    }

    /// The reply to a question about the cluster's own names; `None` for all else.
    fn own_reply(&self, request: &Request) -> Option<Reply> {
        let info = question(request).ok()?;
        let query = info.query.original();
        self.own(query.name(), query.query_type()).ok()
    }

    /// The reply to whatever was asked.
    async fn reply(&self, request: &Request) -> Reply {
        let info = match question(request) {
            Ok(info) => info,
            Err(code) => return Reply::new(code),
        };
        let query = info.query.original();
        match self.own(query.name(), query.query_type()) {
            Ok(reply) => reply,
            Err(Elsewhere { answers, name }) if answers.is_empty() => {
                self.forward(&name, query.query_type()).await
            }
            Err(Elsewhere { mut answers, name }) => {
                let more = self.forward(&name, query.query_type()).await;
                answers.extend(more.answers);
                Reply {
                    authoritative: true,
                    answers,
                    ..Reply::new(ResponseCode::NoError)
                }
            }
        }
    }

    async fn forward(&self, name: &Name, kind: RecordType) -> Reply {
        match self.forwarder.lookup(name, kind).await {
            Forwarded::Records(answers) => Reply {
                answers,
                ..Reply::new(ResponseCode::NoError)
            },
            Forwarded::Negative(code, soa) => Reply {
                soa: soa.map(|s| *s),
                ..Reply::new(code)
            },
            Forwarded::Failed => Reply::new(ResponseCode::ServFail),
        }
    }
}

/// What is asked, or why that is not answered.
fn question(request: &Request) -> Result<RequestInfo<'_>, ResponseCode> {
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    match (request.metadata.message_type, request.metadata.op_code) {
        (MessageType::Query, OpCode::Query) => {
            request.request_info().map_err(|_| ResponseCode::FormErr)
        }
        (MessageType::Response, _) => Err(ResponseCode::FormErr),
        _ => Err(ResponseCode::NotImp),
    }
}

/// What a reply says of EDNS, where the client spoke of it.
fn edns(request: &Request, reply: &Reply) -> Option<Edns> {
    request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(asked.max_payload().clamp(512, MAX_UDP_PAYLOAD));
        edns.set_rcode_high(reply.code.high());
        edns
    })
}

/// A reply as a message; `edns` is what [`edns`] says.
fn message<'a>(
    request: &'a Request,
    reply: &'a Reply,
    edns: Option<&'a Edns>,
) -> MessageResponse<
    'a,
    'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = reply.code;
    metadata.authoritative = reply.authoritative;
    metadata.recursion_available = true;
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = edns {
        builder.edns(edns);
    }
    builder.build(metadata, &reply.answers, [], &reply.soa, &reply.additionals)
}

#[async_trait::async_trait]
impl RequestHandler for ByTcp {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let reply = self.0.reply(request).await;
        let edns = edns(request, &reply);
        let message = message(request, &reply, edns.as_ref());
        match response.send_response(message).await {
            Ok(info) => info,
            Err(e) => {
                tracing::debug!("answering {}: {e}", request.src());
                let mut metadata = Metadata::response_from_request(&request.metadata);
                metadata.response_code = ResponseCode::ServFail;
                hickory_server::proto::op::Header {
                    metadata,
                    counts: Default::default(),
                }
                .into()
            }
        }
    }
}
