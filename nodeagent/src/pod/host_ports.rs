//! `hostPort`: ports of the node that lead to a container's port.
//!
//! Invariant: the ports are open as long as the value that opened them lives; one that is taken is told in an event and does not stop the pod.
//! Takes the place of CNI's `portmap` plugin, with a proxy in the agent instead of rules in the kernel: what it cannot bind it cannot steal.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::containers::staying;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::names::{is_host_network, spec};
use crate::{
    network::{family::IpFamily, listen},
    outcome, time,
};

/// Why a port of the node does not lead to the pod.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("hostIP {ip}: {source}", ip = GoQuoted(.ip))]
    Address {
        ip: String,
        source: std::net::AddrParseError,
    },
    #[error("hostPort {port} with protocol {protocol} is not supported by this node")]
    Protocol { port: u16, protocol: String },
    #[error("cannot listen on hostPort {listen}: {source}")]
    Listen {
        listen: SocketAddr,
        source: std::io::Error,
    },
}

/// One port of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    pub listen: SocketAddr,
    pub target: SocketAddr,
    pub udp: bool,
}

/// The ports that the pod's containers ask for; SCTP is refused. An address of the node leads to the pod's of the same family, or else to its first; all
/// addresses of a family lead to the pod's of that.
pub fn mappings(pod: &Pod, ips: &[IpAddr]) -> Result<Vec<Mapping>, Error> {
    if is_host_network(pod) {
        return Ok(Vec::new());
    }
    let ports = staying(spec(pod)).flat_map(|container| container.ports.iter().flatten());
    let mut all = Vec::new();
    for port in ports {
        let number = |number: i32| u16::try_from(number).unwrap_or(0);
        let Some(host) = port.host_port.map(number).filter(|port| *port > 0) else {
            continue;
        };
        let ways: Vec<(IpAddr, IpAddr)> = match port.host_ip.as_deref().unwrap_or_default() {
            "" => ips
                .iter()
                .map(|ip| (IpFamily::of(*ip).unspecified(), *ip))
                .collect(),
            text => {
                let at = text.parse().map_err(|source| Error::Address {
                    ip: text.to_owned(),
                    source,
                })?;
                let same = ips.iter().find(|ip| IpFamily::of(at).has(ip));
                same.or(ips.first())
                    .map(|to| (at, *to))
                    .into_iter()
                    .collect()
            }
        };
        let udp = match port.protocol.as_deref().unwrap_or("TCP") {
            "TCP" => false,
            "UDP" => true,
            other => {
                return Err(Error::Protocol {
                    port: host,
                    protocol: other.to_owned(),
                });
            }
        };
        all.extend(ways.into_iter().map(|(at, to)| Mapping {
            listen: SocketAddr::new(at, host),
            target: SocketAddr::new(to, number(port.container_port)),
            udp,
        }));
    }
    Ok(all)
}

/// Ports that are open.
#[derive(Default)]
pub struct Open(HashMap<Mapping, AbortOnDropHandle<()>>);

impl Open {
    /// Opens what is wanted and not open yet, and closes the rest. Answers what went wrong.
    pub async fn bring_to(&mut self, wanted: &[Mapping]) -> Vec<Error> {
        self.0
            .retain(|mapping, task| wanted.contains(mapping) && !task.is_finished());
        let mut errors = Vec::new();
        for mapping in wanted {
            if self.0.contains_key(mapping) {
                continue;
            }
            match open(*mapping).await {
                Ok(task) => _ = self.0.insert(*mapping, task),
                Err(source) => errors.push(Error::Listen {
                    listen: mapping.listen,
                    source,
                }),
            }
        }
        errors
    }
}

async fn open(mapping: Mapping) -> std::io::Result<AbortOnDropHandle<()>> {
    Ok(AbortOnDropHandle::new(if mapping.udp {
        let socket = UdpSocket::from_std(listen::udp(mapping.listen)?)?;
        skiff_watching::task::spawn(carry_udp(Arc::new(socket), mapping.target))
    } else {
        let listener = TcpListener::from_std(listen::tcp(mapping.listen)?)?;
        skiff_watching::task::spawn(carry_tcp(listener, mapping.target))
    }))
}

async fn carry_tcp(listener: TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((mut client, _)) => _ = connections.spawn(async move {
                    match TcpStream::connect(target).await {
                        // How a connection ends is between its two sides.
                        Ok(mut server) => _ = copy_bidirectional(&mut client, &mut server).await,
                        Err(error) => tracing::debug!(%error, %target, "hostPort leads nowhere"),
                    }
                }),
                Err(error) => {
                    tracing::debug!(%error, "connection not accepted");
                    time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// How long an answer to a datagram is waited for.
const UDP_IDLE: Duration = Duration::from_secs(30);

async fn carry_udp(socket: Arc<UdpSocket>, target: SocketAddr) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, AbortOnDropHandle<()>)> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        clients.retain(|_, (_, task)| !task.is_finished());
        if let std::collections::hash_map::Entry::Vacant(e) = clients.entry(client) {
            let Ok(upstream) = connected(target).await else {
                continue;
            };
            let upstream = Arc::new(upstream);
            let (back, answers) = (socket.clone(), upstream.clone());
            let task = skiff_watching::task::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Some(Ok(length)) =
                    time::timeout(UDP_IDLE, answers.recv(&mut buffer)).await
                {
                    if back.send_to(&buffer[..length], client).await.is_err() {
                        return;
                    }
                }
            });
            e.insert((upstream, AbortOnDropHandle::new(task)));
        }
        if let Some((upstream, _)) = clients.get(&client) {
            outcome::may_get_lost(upstream.send(&buffer[..length]).await);
        }
    }
}

async fn connected(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = SocketAddr::new(IpFamily::of(target.ip()).unspecified(), 0);
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn ports_are_found() {
        let pod = |ports| {
            from_value::<Pod>(json!({"spec": {"containers": [{"name": "c", "ports": ports}]}}))
                .unwrap()
        };
        let ip = ["10.0.0.1".parse().unwrap()];
        let found = mappings(&pod(json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}, {"containerPort": 53, "hostPort": 53, "hostIP": "127.0.0.1", "protocol": "UDP"}])), &ip).unwrap();
        assert_eq!(
            found[0],
            Mapping {
                listen: "0.0.0.0:8080".parse().unwrap(),
                target: "10.0.0.1:80".parse().unwrap(),
                udp: false
            }
        );
        assert_eq!((found.len(), found[1].udp), (2, true));
        assert!(
            mappings(
                &pod(json!([{"containerPort": 1, "hostPort": 1, "protocol": "SCTP"}])),
                &ip
            )
            .is_err()
        );
        let both = ["fd00::2", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let ways = |host_ip: &str| {
            let port = json!([{"containerPort": 80, "hostPort": 8080, "hostIP": host_ip}]);
            let found = mappings(&pod(port), &both).unwrap().into_iter();
            let text = |way: Mapping| format!("{} {}", way.listen, way.target);
            found.map(text).collect::<Vec<_>>()
        };
        let all = ["[::]:8080 [fd00::2]:80", "0.0.0.0:8080 10.0.0.2:80"];
        assert_eq!(ways(""), all);
        assert_eq!(ways("127.0.0.1"), ["127.0.0.1:8080 10.0.0.2:80"]);
        assert_eq!(ways("fd00::1"), ["[fd00::1]:8080 [fd00::2]:80"]);
        assert_eq!(ways("::"), all[..1]);
    }

    #[tokio::test]
    async fn connections_and_datagrams_get_through() {
        let free = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
        };
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (tcp, udp) = (free(), free());
        let mut open = Open::default();
        let wanted = [
            Mapping {
                listen: tcp,
                target: server.local_addr().unwrap(),
                udp: false,
            },
            Mapping {
                listen: udp,
                target: echo.local_addr().unwrap(),
                udp: true,
            },
        ];
        assert!(open.bring_to(&wanted).await.is_empty());
        skiff_watching::task::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(b"hi").await.unwrap();
        });
        skiff_watching::task::spawn(async move {
            let mut buffer = [0; 16];
            let (length, from) = echo.recv_from(&mut buffer).await.unwrap();
            echo.send_to(&buffer[..length], from).await.unwrap();
        });
        let mut text = String::new();
        TcpStream::connect(tcp)
            .await
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        assert_eq!(text, "hi");
        let client = connected(udp).await.unwrap();
        client.send(b"ping").await.unwrap();
        let mut buffer = [0; 16];
        assert_eq!(
            time::timeout(Duration::from_secs(5), client.recv(&mut buffer))
                .await
                .unwrap()
                .unwrap(),
            4
        );
        let taken = Open::default().bring_to(&wanted[..1]).await;
        assert!(
            taken[0]
                .to_string()
                .starts_with("cannot listen on hostPort 127.0.0.1:"),
            "{taken:?}"
        );
        open.bring_to(&[]).await;
    }
}
