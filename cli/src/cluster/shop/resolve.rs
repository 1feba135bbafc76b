//! The addresses of a name, asked of cluster DNS as a C library asks it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

use super::PATIENCE;

/// The first address of a name.
pub fn resolve(host: &str) -> std::io::Result<IpAddr> {
    let all = resolve_all(host)?;
    all.first().copied().ok_or_else(|| no_such(host))
}

fn no_such(host: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, format!("no such host {host}"))
}

/// All addresses of a name, those of IPv4 first, by /etc/resolv.conf: its servers, and its search list unless the name ends in a dot.
pub fn resolve_all(host: &str) -> std::io::Result<Vec<IpAddr>> {
    let text = std::fs::read_to_string("/etc/resolv.conf")?;
    let mut settings: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(word) = words.next() {
            settings.entry(word).or_default().extend(words);
        }
    }
    let server: IpAddr = settings
        .get("nameserver")
        .and_then(|all| all.first())
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| no_such(host))?;
    let names = settings
        .get("search")
        .into_iter()
        .flatten()
        .filter(|_| !host.ends_with('.'))
        .map(|domain| format!("{host}.{domain}"))
        .chain([host.to_string()]);
    for name in names {
        let mut found = query(server, &name, A)?;
        found.append(&mut query(server, &name, AAAA)?);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(no_such(host))
}

/// The kinds of records that hold addresses, by their numbers.
const A: u16 = 1;
const AAAA: u16 = 28;

/// One question for records of a kind.
fn query(server: IpAddr, name: &str, kind: u16) -> std::io::Result<Vec<IpAddr>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut packet = vec![0x53, 0x4b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    socket.send_to(&packet, (server, 53))?;
    let mut answer = [0; 1500];
    let (len, _) = socket.recv_from(&mut answer)?;
    let answer = &answer[..len];
    let count = answer
        .get(6..8)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let mut at = packet.len();
    let mut found = Vec::new();
    for _ in 0..count {
        // names in answers are pointers, or labels up to a zero
        while let Some(&byte) = answer.get(at) {
            if byte >= 0xc0 {
                at += 2;
                break;
            }
            at += 1 + usize::from(byte);
            if byte == 0 {
                break;
            }
        }
        let Some(head) = answer.get(at..at + 10) else {
            break;
        };
        let (found_kind, size) = (
            u16::from_be_bytes([head[0], head[1]]),
            usize::from(u16::from_be_bytes([head[8], head[9]])),
        );
        let bytes = answer.get(at + 10..at + 10 + size).unwrap_or_default();
        if found_kind == kind {
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let six = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            found.extend(four.or(six));
        }
        at += 10 + size;
    }
    Ok(found)
}
