//! nftables by netlink: what is said as data (`model.rs`) becomes one transaction of the kernel's, all of it or nothing. No program is needed for it.
//!
//! Invariant: a kernel that has no nftables, or refuses them, is told apart from changes that failed (`Error::Unsupported` and `Error::Failed`); changes are
//! made only when the kernel said so. Follows `nfnetlink_rcv_batch` in `net/netfilter/nfnetlink.c` of the kernel.

mod encode;
mod expression;
mod model;
#[cfg(test)]
pub(super) mod tests;
mod text;

use std::{io, os::fd::AsRawFd, sync::Arc};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;

use self::encode::{attribute as a, message};
pub use self::model::*;
use super::{
    Error, failed,
    ns::Namespace,
    wire::{self, DUMP_INTERRUPTED, NLMSG_DONE, NLMSG_ERROR},
};

/// How often a list is asked for that changed while it was read.
const LISTINGS: usize = 10;
/// Beside a batch, what the kernel counts for it.
const SPARE: usize = 1 << 16;

/// A chain that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChain {
    pub table: String,
    pub name: String,
    /// It is a base chain, and drops what no rule decides.
    pub drops: bool,
}

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    pub handle: u64,
    pub comment: Option<String>,
}

/// The nftables of one network namespace. Cheap to clone.
#[derive(Clone)]
pub struct Nft {
    socket: Arc<Mutex<Socket>>,
}

impl Nft {
    /// Opens a way to the kernel inside `ns`, and tries it with a table that is made and dropped in one transaction.
    pub async fn find(ns: &Namespace) -> Result<Self, Error> {
        let opened = ns.call(open).await?;
        let socket = opened.map_err(|e| unsupported(&format!("netlink says: {e}")))?;
        let nft = Nft {
            socket: Arc::new(Mutex::new(socket)),
        };
        match nft.apply(probe()).await {
            Ok(()) => Ok(nft),
            Err(Error::Failed { reason, .. }) => {
                Err(unsupported(&format!("the kernel refuses them: {reason}")))
            }
            Err(e) => Err(e),
        }
    }

    /// Makes all changes in one transaction.
    pub async fn apply(&self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.with(move |socket| transact(socket, &batch)).await?
    }

    /// Names of all tables of a family.
    pub async fn tables(&self, family: Family) -> Result<Vec<String>, Error> {
        let found = self.list(message::GET_TABLE, everything(family), None);
        let tables = found.await?.into_iter();
        Ok(tables
            .filter_map(|t| Some(wire::text(wire::attribute(&t, a::TABLE_NAME)?)))
            .collect())
    }

    /// All chains of a family.
    pub async fn chains(&self, family: Family) -> Result<Vec<ListedChain>, Error> {
        let found = self.list(message::GET_CHAIN, everything(family), None);
        Ok(found.await?.iter().filter_map(|c| chain(c)).collect())
    }

    /// The rules of a chain, in order; none where there is no such chain.
    pub async fn rules(&self, table: &Table, chain: &str) -> Result<Vec<ListedRule>, Error> {
        let found = self.list(message::GET_RULE, table.clone(), Some(chain.to_owned()));
        let found = found.await?;
        let of = |bytes: &[u8]| wire::attribute(bytes, a::RULE_CHAIN).map(wire::text);
        let here = found.iter().filter(|r| of(r).as_deref() == Some(chain));
        Ok(here.filter_map(|r| rule(r)).collect())
    }

    /// Whether there is such a chain.
    pub async fn has_chain(&self, table: &Table, chain: &str) -> Result<bool, Error> {
        let request = encode::request(message::GET_CHAIN, false, table, Some(chain));
        let asked = self.with(move |socket| ask(socket, &request));
        match asked.await? {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(failed("look for a chain of nftables", e)),
        }
    }

    /// Attributes of each thing.
    async fn list(
        &self,
        kind: u16,
        table: Table,
        chain: Option<String>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let request = encode::request(kind, true, &table, chain.as_deref());
        let listing = self.with(move |socket| {
            for _ in 0..LISTINGS {
                if let Some(all) = ask(socket, &request)? {
                    return Ok(all);
                }
            }
            Err(io::Error::other("they change all the time"))
        });
        listing.await?.map_err(|e| failed("list nftables", e))
    }

    /// A large change takes the kernel a while, in which this thread would wait.
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Socket) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let socket = self.socket.clone();
        tokio::task::spawn_blocking(move || f(&socket.lock()))
            .await
            .map_err(|e| failed("speak to nftables", e))
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // a refusal does not repeat what was refused
    socket.set_cap_ack(true)?;
    Ok(socket)
}

fn probe() -> Batch {
    let table = Table::ip("skiff-probe");
    let mut batch = Batch::new();
    batch.push(&table, Change::AddTable { comment: None });
    batch.chain(
        &table,
        "c",
        Some(Base::nat(Hook::Postrouting, 100)),
        Vec::new(),
    );
    let key = [Kind::Ip, Kind::Protocol, Kind::Port];
    batch.set(&table, Set::verdicts("m", &key));
    batch.push(&table, Change::DeleteTable);
    batch
}

fn everything(family: Family) -> Table {
    let name = "".into();
    Table { family, name }
}

/// The kernel has done it all when the datagram was taken, and says then what it refused.
fn transact(socket: &Socket, batch: &Batch) -> Result<(), Error> {
    let (bytes, last) = encode::batch(batch);
    let refused = |e: io::Error| failed("change nftables", e);
    make_room(socket, bytes.len() + SPARE).map_err(refused)?;
    forget(socket).map_err(refused)?;
    socket.send(&bytes, 0).map_err(refused)?;
    let (mut done, mut wrong) = (false, None);
    while let Some(bytes) = receive(socket).map_err(refused)? {
        for message in wire::messages(&bytes) {
            if message.kind != NLMSG_ERROR {
                continue;
            }
            match wire::acknowledged(message.body) {
                Ok(()) => done |= message.sequence == last,
                Err(e) => drop(wrong.get_or_insert((message.sequence, e))),
            }
        }
    }
    match wrong {
        None if done => Ok(()),
        None => Err(refused(io::Error::other("the kernel did not answer"))),
        Some((number, e)) => {
            let index = (number as usize).checked_sub(1);
            let change = index.and_then(|index| batch.changes.get(index));
            let change = change.map(|(table, change)| text::command(table, change));
            let change = change.map(|text| text.chars().take(300).collect::<String>());
            Err(failed(
                "change nftables",
                format!("{e}: {}", change.as_deref().unwrap_or("all together")),
            ))
        }
    }
}

/// A datagram has to fit into what a socket may send at once.
fn make_room(socket: &Socket, bytes: usize) -> io::Result<()> {
    use nix::sys::socket::getsockopt;
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    if getsockopt(&fd, sockopt::SndBuf)? >= bytes {
        return Ok(());
    }
    // Only who may change all settings of the machine may go past its limit; up to that, anybody may.
    if setsockopt(&fd, sockopt::SndBufForce, &bytes).is_err() {
        setsockopt(&fd, sockopt::SndBuf, &bytes)?;
    }
    Ok(())
}

/// What is there to be read.
fn receive(socket: &Socket) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = Vec::with_capacity(1 << 16);
    match socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
        Ok(_) => Ok(Some(buffer)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

/// What an earlier question may have left is no answer to the next.
fn forget(socket: &Socket) -> io::Result<()> {
    while receive(socket)?.is_some() {}
    Ok(())
}

/// All that is answered to a question, each by its attributes; `None` if it changed meanwhile.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
    forget(socket)?;
    socket.send(request, 0)?;
    let (mut found, mut whole) = (Vec::new(), true);
    loop {
        let mut buffer = Vec::with_capacity(1 << 16);
        socket.recv(&mut buffer, 0)?;
        for message in wire::messages(&buffer) {
            whole &= message.flags & DUMP_INTERRUPTED == 0;
            match message.kind {
                NLMSG_DONE => return Ok(whole.then_some(found)),
                NLMSG_ERROR => {
                    wire::acknowledged(message.body)?;
                    return Ok(Some(found));
                }
                _ => found.push(message.body.get(4..).unwrap_or_default().to_vec()),
            }
        }
    }
}

fn chain(bytes: &[u8]) -> Option<ListedChain> {
    let policy = wire::attribute(bytes, a::CHAIN_POLICY);
    Some(ListedChain {
        table: wire::text(wire::attribute(bytes, a::CHAIN_TABLE)?),
        name: wire::text(wire::attribute(bytes, a::CHAIN_NAME)?),
        drops: policy == Some(&[0; 4]),
    })
}

fn rule(bytes: &[u8]) -> Option<ListedRule> {
    let handle = wire::attribute(bytes, a::RULE_HANDLE)?;
    let userdata = wire::attribute(bytes, a::RULE_USERDATA).unwrap_or_default();
    Some(ListedRule {
        handle: u64::from_be_bytes(handle.try_into().ok()?),
        comment: comment(userdata),
    })
}

/// The text of type 0 among what the program `nft` keeps beside a rule: (type, length, value)s.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(wire::text(value));
        }
        userdata = &rest[usize::from(*length)..];
    }
    None
}

fn unsupported(hint: &str) -> Error {
    Error::Unsupported {
        what: "nftables".into(),
        hint: hint.into(),
    }
}
