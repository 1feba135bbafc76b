//! A thief: knocks at every address that the names in `TARGETS` have, all day long, and tells as lines of JSON what came of it.
//!
//! Invariant: a connection that was made is a success, whatever is said over it; what is told are sums since the start.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{resolve::resolve_all, variable, when_told};

/// So long he waits at a door.
const KNOCK: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(600);

/// What came of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loot {
    /// Doors that he knocked at.
    pub attempts: u64,
    /// Those that let him in.
    pub successes: u64,
    /// Names that had no address.
    pub unknown: u64,
    /// A door that let him in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
}

/// `name:port` of each target.
fn targets(text: &str) -> Vec<(String, u16)> {
    text.split(',')
        .filter_map(|target| {
            let (name, port) = target.trim().rsplit_once(':')?;
            Some((name.to_owned(), port.parse().ok()?))
        })
        .collect()
}

impl Loot {
    /// Knocks at all doors of a name at once.
    fn knock(&mut self, addresses: Vec<IpAddr>, port: u16) {
        let doors = addresses.into_iter().map(|ip| SocketAddr::from((ip, port)));
        let knocking: Vec<_> = doors
            .map(|door| {
                let knock = move || TcpStream::connect_timeout(&door, KNOCK).is_ok();
                (door, thread::spawn(knock))
            })
            .collect();
        for (door, knocking) in knocking {
            self.attempts += 1;
            if knocking.join().unwrap_or(false) {
                self.successes += 1;
                self.opened = Some(door.to_string());
            }
        }
    }
}

/// The whole program.
pub fn main() -> i32 {
    when_told(|| std::process::exit(0));
    let targets = targets(&variable("TARGETS"));
    let mut loot = Loot::default();
    loop {
        for (name, port) in &targets {
            match resolve_all(name) {
                Ok(addresses) => loot.knock(addresses, *port),
                Err(_) => loot.unknown += 1,
            }
        }
        match serde_json::to_string(&loot) {
            Ok(line) => tellln!("{line}"),
            Err(error) => eprintln!("thief: {error}"),
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn targets_have_names_and_ports() {
        assert_eq!(
            targets("vault.x.:80, till:8080,nothing"),
            [("vault.x.".to_owned(), 80), ("till".to_owned(), 8080)]
        );
    }

    #[test]
    fn a_door_that_opens_is_a_success_and_one_that_does_not_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let mut loot = Loot::default();
        loot.knock(vec![Ipv4Addr::LOCALHOST.into()], open);
        assert_eq!((loot.attempts, loot.successes), (1, 1));
        assert_eq!(loot.opened, Some(format!("127.0.0.1:{open}")));
        drop(listener);
        loot.knock(vec![Ipv4Addr::LOCALHOST.into()], open);
        assert_eq!((loot.attempts, loot.successes), (2, 1));
    }
}
