//! Questions by UDP: what was answered before is answered at once, what the cluster's own names say is made once for all who ask for it, and all else waits for
//! others by itself.
//!
//! Invariant: nobody's question holds up another's: whoever receives them makes no answers. A response is never answered, so that two servers cannot be set at
//! each other. Who asks after a change waits for an answer that was begun after it.

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hickory_server::{net::xfer::Protocol, proto::serialize::binary::BinEncoder, server::Request};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Reply,
    datagrams::{Datagrams, From, Outgoing},
    edns,
    kept::{HEADER, Kept, Question},
    message,
};

/// How many questions may wait; more are lost, as datagrams are.
const WAITING: usize = 1024;
/// What answers are made for whoever they are for: nobody looks at it.
const ANYONE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Answers at a socket until `stop`.
pub async fn serve(handler: Arc<Handler>, socket: UdpSocket, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let mut desk = Desk::new(handler, socket.clone());
    let (mut datagrams, mut errors) = (Datagrams::default(), 0);
    loop {
        let ready = tokio::select! {
            () = stop.cancelled() => return,
            Some(made) = desk.being_made.next() => {
                desk.made(made);
                continue;
            }
            ready = socket.readable() => ready,
        };
        let received = ready
            .and_then(|()| socket.try_io(Interest::READABLE, || datagrams.receive(socket.as_fd())));
        match received {
            Ok(count) => {
                errors = 0;
                for number in 0..count {
                    let (bytes, from) = datagrams.get(number);
                    if from.has_port() {
                        desk.take(bytes, from);
                    }
                }
                desk.send();
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => {
                errors += 1;
                if errors == TOLD {
                    tracing::warn!("DNS by UDP: nothing can be received: {e}");
                }
                tokio::time::sleep(pause(errors)).await;
            }
        }
    }
}

/// After so many errors one behind the other they are told of: fewer may be about datagrams that went where nobody is.
const TOLD: u32 = 3;

/// What is waited after so many errors one behind the other.
fn pause(errors: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(1);
    match errors {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(10 << more.min(10)).min(LONGEST),
    }
}

/// What an answer is made from, and to what: the generation, and [`Question::key`].
type Wanted = (u64, Vec<u8>);

/// A question as it came, from whom, and its place among those that wait.
struct Waiting {
    message: Vec<u8>,
    from: From,
    place: OwnedSemaphorePermit,
}

/// An answer to a question in small letters; `None`: others have to be asked.
struct Made {
    wanted: Wanted,
    lower: Vec<u8>,
    answer: Option<Vec<u8>>,
}

/// Where questions come in and answers go out.
struct Desk {
    handler: Arc<Handler>,
    socket: Arc<UdpSocket>,
    places: Arc<Semaphore>,
    kept: Kept,
    waiting: HashMap<Wanted, Vec<Waiting>>,
    being_made: FuturesUnordered<BoxFuture<'static, Made>>,
    outgoing: Outgoing,
    turn: usize,
}

impl Desk {
    fn new(handler: Arc<Handler>, socket: Arc<UdpSocket>) -> Self {
        Desk {
            handler,
            socket,
            places: Arc::new(Semaphore::new(WAITING)),
            kept: Kept::default(),
            waiting: HashMap::new(),
            being_made: FuturesUnordered::new(),
            outgoing: Outgoing::default(),
            turn: 0,
        }
    }

    /// Takes a question; the answer goes out with [`Desk::send`] if there is one, and else by itself.
    fn take(&mut self, bytes: &[u8], from: From) {
        // What changes while an answer is made makes it one of before.
        let generation = self.handler.generation.load(Ordering::Acquire);
        let question = Question::of(bytes);
        self.turn = self.turn.wrapping_add(1);
        if let Some(question) = &question
            && (self.kept).answer(question, generation, self.turn, &mut self.outgoing.bytes)
        {
            return self.end(from);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return;
        };
        let waiting = Waiting {
            message: bytes.to_vec(),
            from,
            place,
        };
        match question {
            Some(question) => self.wait(generation, &question, waiting),
            None => self.ask_others(waiting),
        }
    }

    /// Has somebody wait for an answer, which is made if nobody makes it yet.
    fn wait(&mut self, generation: u64, question: &Question, who: Waiting) {
        let (wanted, lower) = ((generation, question.key()), question.lower());
        let all = self.waiting.entry(wanted.clone()).or_default();
        all.push(who);
        if all.len() > 1 {
            return;
        }
        let (handler, asked) = (self.handler.clone(), lower.clone());
        let making = skiff_watching::task::spawn(async move { own(&handler, asked) });
        let made = async move {
            // one that was broken off is tried once more by everybody
            let answer = making.await.unwrap_or(None);
            Made {
                wanted,
                lower,
                answer,
            }
        };
        self.being_made.push(Box::pin(made));
    }

    /// Gives an answer to all who wait for it.
    fn made(&mut self, made: Made) {
        let waiting = self.waiting.remove(&made.wanted).unwrap_or_default();
        let Some(answer) = made.answer else {
            return waiting.into_iter().for_each(|one| self.ask_others(one));
        };
        let (generation, _) = made.wanted;
        self.kept.keep(&made.lower, generation, &answer);
        for one in waiting {
            let Some(question) = Question::of(&one.message) else {
                continue;
            };
            self.turn = self.turn.wrapping_add(1);
            let out = &mut self.outgoing.bytes;
            let start = out.len();
            if !self.kept.answer(&question, generation, self.turn, out) {
                out.extend(&answer);
                question.adopt(&mut out[start..]);
            }
            self.end(one.from);
        }
        self.send();
    }

    /// What was written is for this one.
    fn end(&mut self, to: From) {
        self.outgoing.end(to);
        if self.outgoing.is_full() {
            self.send();
        }
    }

    fn send(&mut self) {
        self.outgoing.send(self.socket.as_fd());
    }

    /// Has a question answered by itself, however long that takes.
    fn ask_others(&self, one: Waiting) {
        let (handler, socket) = (self.handler.clone(), self.socket.clone());
        skiff_watching::task::spawn(async move {
            later(&handler, &socket, one.message, one.from).await;
            drop(one.place);
        });
    }
}

/// The answer to a plain question in small letters, if it is about the cluster's own names.
fn own(handler: &Handler, lower: Vec<u8>) -> Option<Vec<u8>> {
    let request = Request::from_bytes(lower, ANYONE, Protocol::Udp).ok()?;
    let reply = handler.own_reply(&request)?;
    Some(encoded(&request, &reply))
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
    let edns = edns(request, reply);
    let message = message(request, reply, edns.as_ref());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_errors_are_not_asked_for_again_at_once() {
        assert_eq!(pause(1), Duration::ZERO, "one may be about one datagram");
        assert!((2..100).all(|errors| pause(errors) >= Duration::from_millis(10)));
        assert!((2..100).is_sorted_by_key(pause));
        assert_eq!(pause(u32::MAX), Duration::from_secs(1));
    }
}
