//! nftables by netlink: what is said as data (`rule.rs`, `change.rs`) becomes one transaction of the kernel's, all of it or nothing. No program is needed for it.
//!
//! Invariant: a kernel that has no nftables, or refuses them, is told apart from changes that failed (`Error::Unsupported` and `Error::Failed`); changes are
//! made only when the kernel said so. Follows `nfnetlink_rcv_batch` in `net/netfilter/nfnetlink.c` of the kernel.

mod change;
mod data;
mod encode;
mod expression;
mod kernel;
mod numbers;
mod rule;
pub(super) mod socket;
#[cfg(test)]
pub(super) mod tests;
mod text;

use std::{io, sync::Arc};

use netlink_sys::Socket;
use parking_lot::Mutex;

use self::numbers::{attribute as a, message};
pub use self::{change::*, rule::*};
use super::{
    Error, failed,
    family::IpFamily,
    ns::Namespace,
    wire::{self, NLMSG_ERROR},
};

/// What the kernel says of families of tables and of places of chains that it does not have.
const UNKNOWN: [i32; 3] = [libc::EOPNOTSUPP, libc::EAFNOSUPPORT, libc::ENOENT];

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
    /// Opens a way to the kernel inside `ns`, and tries it with a table of IPv4 that is made and dropped in one transaction.
    pub async fn find(ns: &Namespace) -> Result<Self, Error> {
        Self::find_for(ns, IpFamily::V4).await
    }

    /// The same, tried with a table of that family.
    pub async fn find_for(ns: &Namespace, family: IpFamily) -> Result<Self, Error> {
        let opened = ns.call(socket::open).await?;
        let socket = opened.map_err(|e| unsupported(&format!("netlink says: {e}")))?;
        let nft = Nft {
            socket: Arc::new(Mutex::new(socket)),
        };
        match nft.apply(probe(family)).await {
            Ok(()) => Ok(nft),
            Err(Error::Failed { reason, .. }) => {
                Err(unsupported(&format!("the kernel refuses them: {reason}")))
            }
            Err(e) => Err(e),
        }
    }

    /// Makes all changes in one transaction.
    pub async fn apply(&self, batch: Batch) -> Result<(), Error> {
        let made = self.transact(batch).await?;
        made.map_err(|refused| failed("change nftables", refused.reason))
    }

    /// The same, but for a kernel that has no such tables: then nothing is changed, and `false` said. Whatever else goes wrong is an error.
    pub async fn apply_where_known(&self, batch: Batch) -> Result<bool, Error> {
        match self.transact(batch).await? {
            Ok(()) => Ok(true),
            Err(refused) if refused.errno.is_some_and(|e| UNKNOWN.contains(&e)) => Ok(false),
            Err(refused) => Err(failed("change nftables", refused.reason)),
        }
    }

    /// Takes away the tables of that name of both families of IP; of a kernel that has no such tables there is none to be taken away.
    pub async fn clear_both(&self, name: &str) -> Result<(), Error> {
        for family in IpFamily::ALL {
            self.apply_where_known(Batch::cleared(&family.table(name)))
                .await?;
        }
        Ok(())
    }

    async fn transact(&self, batch: Batch) -> Result<Result<(), Refused>, Error> {
        self.with(move |socket| transact(socket, &batch)).await
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
        let asked = self.with(move |socket| socket::ask(socket, &request?));
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
        let listing = self.with(move |socket| socket::list(socket, &request?));
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

fn probe(family: IpFamily) -> Batch {
    let table = family.table("skiff-probe");
    let mut batch = Batch::new();
    batch.push(&table, Change::AddTable { comment: None });
    batch.chain(
        &table,
        "c",
        Some(Base::nat(Hook::Postrouting, 100)),
        Vec::new(),
    );
    let key = [Kind::Ip(family), Kind::Protocol, Kind::Port];
    batch.set(&table, Set::verdicts("m", &key));
    batch.push(&table, Change::DeleteTable);
    batch
}

fn everything(family: Family) -> Table {
    let name = "".into();
    Table { family, name }
}

/// Why nothing was changed.
struct Refused {
    errno: Option<i32>,
    reason: String,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused {
            errno: error.raw_os_error(),
            reason: error.to_string(),
        }
    }
}

/// The kernel has done it all when the datagram was taken, and says then what it refused.
fn transact(socket: &Socket, batch: &Batch) -> Result<(), Refused> {
    let (bytes, last) = encode::batch(batch)?;
    if last.is_none() {
        return Ok(());
    }
    socket::send_batch(socket, &bytes)?;
    let (mut done, mut wrong) = (false, None);
    while let Some(bytes) = socket::receive(socket)? {
        for message in wire::messages(&bytes) {
            if message.kind != NLMSG_ERROR {
                continue;
            }
            match wire::acknowledged(message.body) {
                Ok(()) => done |= Some(message.sequence) == last,
                Err(e) => drop(wrong.get_or_insert((message.sequence, e))),
            }
        }
    }
    match wrong {
        None if done => Ok(()),
        None => Err(io::Error::other("the kernel did not answer").into()),
        Some((number, e)) => {
            let index = (number as usize).checked_sub(1);
            let change = index.and_then(|index| batch.changes.get(index));
            let change = change.map(|(table, change)| text::command(table, change));
            let change = change.map(|text| text.chars().take(300).collect::<String>());
            Err(Refused {
                errno: e.raw_os_error(),
                reason: format!("{e}: {}", change.as_deref().unwrap_or("all together")),
            })
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
