//! Questions by UDP: what was answered before is answered at once, what the cluster's own names say is made and kept, and all else waits for others by itself.
//!
//! Invariant: nobody's question holds up another's; a response is never answered, so that two servers cannot be set at each other.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use hickory_server::{
    net::xfer::Protocol, proto::serialize::binary::BinEncoder, server::Request,
    zone_handler::MessageResponseBuilder,
};
use tokio::{io::Interest, net::UdpSocket, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Reply,
    datagrams::{Datagrams, From, Outgoing},
    head,
    kept::{Kept, Question},
};

/// How many questions may wait for others; more are lost, as datagrams are.
const WAITING: usize = 1024;
/// Length of a message's header.
const HEADER: usize = 12;
/// What answers are made for whoever they are for: nobody looks at it.
const ANYONE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Answers at a socket until `stop`.
pub async fn serve(handler: Arc<Handler>, socket: UdpSocket, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let waiting = Arc::new(Semaphore::new(WAITING));
    let (mut kept, mut datagrams) = (Kept::default(), Datagrams::default());
    let (mut outgoing, mut turn) = (Outgoing::default(), 0_usize);
    loop {
        let ready = tokio::select! {
            () = stop.cancelled() => return,
            ready = socket.readable() => ready,
        };
        let received = ready
            .and_then(|()| socket.try_io(Interest::READABLE, || datagrams.receive(socket.as_fd())));
        let count = match received {
            Ok(count) => count,
            // it is for one datagram that went where nobody is
            Err(e) => {
                tracing::trace!("DNS by UDP: {e}");
                continue;
            }
        };
        for number in 0..count {
            let (bytes, from) = datagrams.get(number);
            if !from.has_port() {
                continue;
            }
            turn = turn.wrapping_add(1);
            if at_once(&handler, &mut kept, bytes, turn, &mut outgoing.bytes) {
                outgoing.end(from);
                continue;
            }
            let Ok(place) = waiting.clone().try_acquire_owned() else {
                continue;
            };
            let (handler, socket, bytes) = (handler.clone(), socket.clone(), bytes.to_vec());
            skiff_watching::task::spawn(async move {
                later(&handler, &socket, bytes, from).await;
                drop(place);
            });
        }
        outgoing.send(socket.as_fd());
    }
}

/// Writes the answer to a plain question about the cluster's own names.
fn at_once(
    handler: &Handler,
    kept: &mut Kept,
    bytes: &[u8],
    turn: usize,
    out: &mut Vec<u8>,
) -> bool {
    let Some(question) = Question::of(bytes) else {
        return false;
    };
    // What changes while the answer is made makes it one of before.
    let generation = handler.generation.load(Ordering::Acquire);
    if kept.answer(&question, generation, turn, out) {
        return true;
    }
    let lower = question.lower();
    let Ok(request) = Request::from_bytes(lower.clone(), ANYONE, Protocol::Udp) else {
        return false;
    };
    let Some(reply) = handler.own_reply(&request) else {
        return false;
    };
    kept.keep(&lower, generation, &encoded(&request, &reply));
    // Where it was not kept, it is made once more, in the client's own letters.
    kept.answer(&question, generation, turn, out) || {
        let request = Request::from_bytes(bytes.to_vec(), ANYONE, Protocol::Udp);
        request.is_ok_and(|request| {
            out.extend(encoded(&request, &reply));
            true
        })
    }
}

/// Answers whatever takes its time.
async fn later(handler: &Handler, socket: &UdpSocket, bytes: Vec<u8>, from: From) {
    const RESPONSE: u8 = 0x80;
    let is_question = bytes.len() >= HEADER && bytes[2] & RESPONSE == 0;
    if !is_question {
        return;
    }
    let head = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let mut outgoing = Outgoing::default();
    outgoing.bytes = match Request::from_bytes(bytes, ANYONE, Protocol::Udp) {
        Ok(request) => encoded(&request, &handler.reply(&request).await),
        Err(_) => malformed(head),
    };
    outgoing.end(from);
    outgoing.send(socket.as_fd());
}

/// The answer to a message of which only the head can be read: its number, kind and wish for recursion, and that it is malformed.
fn malformed([high, low, flags, _]: [u8; 4]) -> Vec<u8> {
    const FORMAT_ERROR: u8 = 1;
    let mut bytes = vec![high, low, 0x80 | flags & 0x79, FORMAT_ERROR];
    bytes.resize(HEADER, 0);
    bytes
}

/// A reply as bytes, cut to what the client takes.
fn encoded(request: &Request, reply: &Reply) -> Vec<u8> {
    const WITHOUT_EDNS: u16 = 512;
    let (metadata, edns) = head(request, reply);
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = &edns {
        builder.edns(edns);
    }
    let message = builder.build(metadata, &reply.answers, [], &reply.soa, &reply.additionals);
    let mut bytes = Vec::with_capacity(usize::from(WITHOUT_EDNS));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(
        edns.as_ref()
            .map_or(WITHOUT_EDNS, |edns| edns.max_payload()),
    );
    match message.destructive_emit(&mut encoder) {
        Ok(_) => bytes,
        Err(e) => {
            tracing::debug!("a DNS answer cannot be written: {e}");
            const SERVER_FAILURE: u8 = 2;
            let id = request.metadata.id.to_be_bytes();
            let mut bytes = vec![id[0], id[1], 0x80, SERVER_FAILURE];
            bytes.resize(HEADER, 0);
            bytes
        }
    }
}
