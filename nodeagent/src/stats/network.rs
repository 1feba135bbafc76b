//! What went over network interfaces.
//!
//! Invariant: of a process that has ended nothing is known, which is no error. Loopback and tunnels that the kernel makes by itself are left out.
//! Follows `container/libcontainer/handler.go` of cadvisor (scanInterfaceStats).

use std::fs;

/// An interface, and what went over it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub received: Traffic,
    pub sent: Traffic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub dropped: u64,
}

/// The node's ends of pods' links (`network/pods.rs`) begin with the last.
const IGNORED: [&str; 5] = ["lo", "veth", "docker", "nerdctl", "skiffp"];

/// What the first of these processes that lives sees.
pub fn of_processes(pids: &[i32]) -> Vec<Interface> {
    let found = pids
        .iter()
        .find_map(|pid| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok());
    found.map(|text| read(&text)).unwrap_or_default()
}

/// What this thread sees, which is in the node's network.
pub fn of_node() -> Vec<Interface> {
    let found = fs::read_to_string("/proc/thread-self/net/dev");
    found.map(|text| read(&text)).unwrap_or_default()
}

fn read(text: &str) -> Vec<Interface> {
    text.lines().filter_map(interface).collect()
}

fn interface(line: &str) -> Option<Interface> {
    let (name, figures) = line.split_once(':')?;
    let name = name.trim();
    if IGNORED.iter().any(|ignored| name.starts_with(ignored))
        || name.contains("tunl")
        || name.contains("sit0")
    {
        return None;
    }
    let figures: Vec<u64> = figures
        .split_whitespace()
        .map_while(|figure| figure.parse().ok())
        .collect();
    let traffic = |from: usize| {
        let of = figures.get(from..from + 4)?;
        Some(Traffic {
            bytes: of[0],
            packets: of[1],
            errors: of[2],
            dropped: of[3],
        })
    };
    Some(Interface {
        name: name.to_owned(),
        received: traffic(0)?,
        sent: traffic(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_tells_it() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n  eth0: 1296 16 1 2 0 0 0 0 700 9 3 4 0 0 0 0\nveth1: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n";
        let traffic = |bytes, packets, errors, dropped| Traffic {
            bytes,
            packets,
            errors,
            dropped,
        };
        let eth0 = Interface {
            name: "eth0".into(),
            received: traffic(1296, 16, 1, 2),
            sent: traffic(700, 9, 3, 4),
        };
        assert_eq!(read(text), [eth0]);
        assert!(of_processes(&[i32::MAX]).is_empty());
    }
}
