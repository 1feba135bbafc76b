//! The addresses of a node's networks of pods, and who has them.
//!
//! Invariant: an address belongs to at most one pod, also across restarts of the agent, and is given out again only after all the others had their turn.
//! Files are the truth; the map mirrors them. Follows the `host-local` plugin of the CNI project in behaviour.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Error, HostPort, failed,
    family::{self, IpFamily},
};
use crate::{disk, outcome::IfThere};

/// `pods/<uid>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The first of its addresses.
    ip: IpAddr,
    /// That of the other family, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second: Option<IpAddr>,
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
}

impl Record {
    pub fn ips(&self) -> Vec<IpAddr> {
        [self.ip].into_iter().chain(self.second).collect()
    }
}

pub fn file_names(dir: &Path) -> Result<Vec<String>, Error> {
    let names = || -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(dir).if_there()?.into_iter().flatten();
        entries
            .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    names().map_err(|e| failed(format!("read {}", dir.display()), e))
}

/// What was written down of pods, by their uids.
pub fn records(dir: &Path) -> Result<BTreeMap<String, Record>, Error> {
    let mut found = BTreeMap::new();
    for file in file_names(&dir.join("pods"))? {
        let path = dir.join("pods").join(&file);
        let Some(uid) = file.strip_suffix(".json") else {
            continue;
        };
        let bytes =
            std::fs::read(&path).map_err(|e| failed(format!("read {}", path.display()), e))?;
        let record = serde_json::from_slice(&bytes)
            .map_err(|e| failed(format!("read {}", path.display()), e))?;
        found.insert(uid.to_owned(), record);
    }
    Ok(found)
}

pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    disk::write_whole(path, bytes).map_err(|e| failed(format!("write {}", path.display()), e))
}

/// One network, and the address given out last: the search for a free one goes on after it.
struct Range {
    net: IpNet,
    last: Option<IpAddr>,
    /// Where that is written down.
    file: PathBuf,
}

impl Range {
    fn load(dir: &Path, net: IpNet) -> Result<Self, Error> {
        if net.max_prefix_len() - net.prefix_len() < 2 {
            return Err(Error::Exhausted(net.to_string()));
        }
        let file = dir.join(match IpFamily::of_network(net) {
            IpFamily::V4 => "last",
            IpFamily::V6 => "last6",
        });
        let last = std::fs::read_to_string(&file).ok();
        let last = last.and_then(|text| text.trim().parse().ok());
        Ok(Range { net, last, file })
    }

    fn take(&mut self, taken: &BTreeSet<IpAddr>) -> Result<IpAddr, Error> {
        let free = next_free(self.net, self.last, taken);
        let ip = free.ok_or_else(|| Error::Exhausted(self.net.to_string()))?;
        write_whole(&self.file, ip.to_string().as_bytes())?;
        self.last = Some(ip);
        Ok(ip)
    }
}

/// See the module.
pub struct Pool {
    dir: PathBuf,
    ranges: Vec<Range>,
    pub records: BTreeMap<String, Record>,
}

impl Pool {
    /// Of one or two networks, of different families. `dir` has a folder `pods`.
    pub fn load(dir: &Path, nets: &[IpNet]) -> Result<Self, Error> {
        let families: BTreeSet<_> = nets.iter().map(|net| IpFamily::of_network(*net)).collect();
        if nets.is_empty() || families.len() < nets.len() {
            return Err(failed(
                "give pods addresses",
                format!("the node has no podCIDR, or two of one family: {nets:?}"),
            ));
        }
        let ranges = nets.iter().map(|net| Range::load(dir, *net));
        Ok(Pool {
            dir: dir.to_owned(),
            ranges: ranges.collect::<Result<_, _>>()?,
            records: records(dir)?,
        })
    }

    /// The first address of each network, with its length.
    pub fn gateways(&self) -> Vec<IpNet> {
        let first = |range: &Range| {
            let ip = family::next(range.net.network())?;
            IpNet::new(ip, range.net.prefix_len()).ok()
        };
        self.ranges.iter().filter_map(first).collect()
    }

    fn record_path(&self, uid: &str) -> PathBuf {
        self.dir.join("pods").join(format!("{uid}.json"))
    }

    /// The pod's addresses: those it has, or the next free one of each network.
    pub fn take(&mut self, uid: &str) -> Result<Vec<IpAddr>, Error> {
        if let Some(record) = self.records.get(uid) {
            return Ok(record.ips());
        }
        let taken = self.records.values().flat_map(Record::ips).collect();
        let ips = self.ranges.iter_mut().map(|range| range.take(&taken));
        let ips: Vec<_> = ips.collect::<Result<_, _>>()?;
        let mut both = ips.iter().copied();
        let ip = both
            .next()
            .ok_or_else(|| Error::Exhausted("no network".into()))?;
        let record = Record {
            ip,
            second: both.next(),
            host_ports: Vec::new(),
        };
        self.write(uid, &record)?;
        self.records.insert(uid.to_owned(), record);
        Ok(ips)
    }

    fn write(&self, uid: &str, record: &Record) -> Result<(), Error> {
        let json = serde_json::to_vec(record).map_err(|e| failed("write an address record", e))?;
        write_whole(&self.record_path(uid), &json)
    }

    pub fn set_host_ports(&mut self, uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        let record = self.records.get(uid).ok_or_else(|| {
            failed(
                format!("set the host ports of pod {uid}"),
                "it has no network",
            )
        })?;
        let record = Record {
            host_ports: ports.to_vec(),
            ..record.clone()
        };
        self.write(uid, &record)?;
        self.records.insert(uid.to_owned(), record);
        Ok(())
    }

    /// Of the pods' addresses of a family.
    pub fn host_ports(&self, family: IpFamily) -> BTreeMap<IpAddr, Vec<HostPort>> {
        let of = |record: &Record| {
            let ip = record.ips().into_iter().find(|ip| family.has(ip))?;
            Some((ip, record.host_ports.clone()))
        };
        self.records.values().filter_map(of).collect()
    }

    pub fn give_back(&mut self, uid: &str) -> Result<(), Error> {
        let path = self.record_path(uid);
        let removed = std::fs::remove_file(&path).if_there();
        removed.map_err(|e| failed(format!("remove {}", path.display()), e))?;
        self.records.remove(uid);
        Ok(())
    }
}

/// The first free address after `last`, going round; never the network's own, the gateway's (the first) or the last, which is that for broadcasts.
pub fn next_free(net: IpNet, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let family = IpFamily::of_network(net);
    let (first, end) = (
        family::number(net.network()).checked_add(2)?,
        family::number(net.broadcast()),
    );
    let from = last
        .filter(|last| family.has(last))
        .map(family::number)
        .filter(|last| (first..end).contains(last))
        .map_or(first, |last| last + 1);
    (from..end)
        .chain(first..from)
        .map(|number| family.address(number))
        .find(|ip| !taken.contains(ip))
}

/// The pods whose networks' files are in `dir`: uid, addresses, and the node's end of the cable.
pub fn known(dir: &Path) -> Result<Vec<(String, Vec<IpAddr>, String)>, Error> {
    let records = records(dir)?.into_iter();
    Ok(records
        .map(|(uid, record)| {
            let link = host_link(&uid);
            (uid, record.ips(), link)
        })
        .collect())
}

/// The node's end of a pod's veth pair: 15 characters, the most that the kernel takes.
pub fn host_link(uid: &str) -> String {
    format!(
        "skiffp{}",
        &hex::encode(Sha256::digest(uid.as_bytes()))[..9]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_go_round() {
        let cases: &[(Option<u8>, &[u8], Option<u8>)] = &[
            (None, &[], Some(2)),
            (Some(2), &[2], Some(3)),
            (Some(3), &[2], Some(4)),
            (Some(6), &[6], Some(2)),
            (Some(6), &[2, 3, 6], Some(4)),
            (Some(4), &[2, 3, 4, 5, 6], None),
            (Some(99), &[], Some(2)),
        ];
        for (net, prefix) in [("10.0.0.0/29", "10.0.0."), ("fd00::/125", "fd00::")] {
            let ip = |n: &u8| ip(&format!("{prefix}{n}"));
            for (last, taken, want) in cases {
                let taken = taken.iter().map(ip).collect();
                assert_eq!(
                    next_free(net.parse().unwrap(), last.as_ref().map(ip), &taken),
                    want.as_ref().map(ip),
                    "{net} after {last:?} with {taken:?}"
                );
            }
        }
    }

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pods")).unwrap();
        dir
    }

    #[test]
    fn a_pool_remembers() {
        let dir = dir();
        let cidr = ["10.1.0.0/29".parse().unwrap()];
        let mut pool = Pool::load(dir.path(), &cidr).unwrap();
        let a = pool.take("a").unwrap();
        let b = pool.take("b").unwrap();
        assert_ne!(a, b);
        pool.give_back("a").unwrap();
        let mut pool = Pool::load(dir.path(), &cidr).unwrap();
        assert_eq!(pool.take("b").unwrap(), b);
        assert_eq!(
            pool.take("c").unwrap(),
            [ip("10.1.0.4")],
            "what a had must not be given out at once"
        );
        for uid in ["d", "e", "f"] {
            pool.take(uid).unwrap();
        }
        assert!(matches!(pool.take("g"), Err(Error::Exhausted(_))));
    }

    #[test]
    fn both_families_in_the_order_of_the_networks() {
        let dir = dir();
        let nets = ["fd00:244:1::/64", "10.1.0.0/29"].map(|net| net.parse().unwrap());
        let mut pool = Pool::load(dir.path(), &nets).unwrap();
        assert_eq!(
            pool.take("a").unwrap(),
            [ip("fd00:244:1::2"), ip("10.1.0.2")]
        );
        let mut pool = Pool::load(dir.path(), &nets).unwrap();
        assert_eq!(
            pool.take("a").unwrap(),
            [ip("fd00:244:1::2"), ip("10.1.0.2")]
        );
        assert_eq!(
            pool.take("b").unwrap(),
            [ip("fd00:244:1::3"), ip("10.1.0.3")]
        );
        let gateways: Vec<_> = pool.gateways().iter().map(IpNet::to_string).collect();
        assert_eq!(gateways, ["fd00:244:1::1/64", "10.1.0.1/29"]);
        for wrong in [&[][..], &[nets[0], nets[0]]] {
            assert!(Pool::load(dir.path(), wrong).is_err());
        }
    }

    /// As it was before there was a second address.
    #[test]
    fn a_record_of_one_address_is_as_it_was() {
        let old = r#"{"ip":"10.1.0.2","host_ports":[]}"#;
        let record: Record = serde_json::from_str(old).unwrap();
        assert_eq!(record.ips(), [ip("10.1.0.2")]);
        assert_eq!(serde_json::to_string(&record).unwrap(), old);
    }
}
