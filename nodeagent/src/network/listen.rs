//! Sockets that listen at an address of one family: all addresses of IPv6 are none of IPv4, whose they may be, too.
//!
//! Invariant: what is made is not blocking, and in the network namespace of the calling thread.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};

fn bound(at: SocketAddr, kind: SockType) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let family = if at.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, kind, flags, None)?;
    if at.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    if kind == SockType::Stream {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(socket)
}

/// Listens for connections, with `SO_REUSEADDR`.
pub fn tcp(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(at, SockType::Stream)?;
    listen(&socket, Backlog::new(1024)?)?;
    Ok(socket.into())
}

/// Takes datagrams.
pub fn udp(at: SocketAddr) -> io::Result<UdpSocket> {
    bound(at, SockType::Datagram).map(UdpSocket::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_at_one_port() {
        let any = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
        let first = tcp(any("0.0.0.0", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        match tcp(any("::", port)) {
            Ok(second) => assert_eq!(second.local_addr().unwrap(), any("::", port)),
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                return skiff_testing::skipped("this kernel has no IPv6");
            }
            Err(e) => panic!("{e}"),
        }
        let taken = tcp(any("0.0.0.0", port)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let first = udp(any("0.0.0.0", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        udp(any("::", port)).unwrap();
    }
}
