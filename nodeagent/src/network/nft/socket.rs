//! The way to the kernel's netfilter by netlink: one question and all of its answer, for nftables and for the table of connections alike.
//!
//! Invariant: an answer counts only when the kernel ended it without an error; a list that changed while it was read is asked for again. Follows
//! netlink(7), `net/netlink/af_netlink.c` and `net/netfilter/nfnetlink.c` of the kernel.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::super::wire::{self, DUMP_INTERRUPTED, NLMSG_DONE, NLMSG_ERROR};

/// How often a list is asked for that changed while it was read.
const LISTINGS: usize = 10;
/// Beside a batch, what the kernel counts for it.
const SPARE: usize = 1 << 16;

/// Opens one in the network namespace of the calling thread.
pub fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // a refusal does not repeat what was refused
    socket.set_cap_ack(true)?;
    Ok(socket)
}

/// Sends a batch, which is to be one datagram; whatever its size, or it is said why not.
pub fn send_batch(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    make_room(socket, bytes.len())?;
    forget(socket)?;
    socket.send(bytes, 0).map(drop)
}

/// A datagram has to fit into what a socket may send at once.
fn make_room(socket: &Socket, bytes: usize) -> io::Result<()> {
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let wanted = bytes.saturating_add(SPARE);
    if getsockopt(&fd, sockopt::SndBuf)? >= wanted {
        return Ok(());
    }
    let asked = wanted.min(i32::MAX as usize);
    // Only who may change all settings of the machine may go past its limit; up to that, anybody may.
    if setsockopt(&fd, sockopt::SndBufForce, &asked).is_err() {
        setsockopt(&fd, sockopt::SndBuf, &asked)?;
    }
    // What goes past a limit is cut down to it without a word.
    if getsockopt(&fd, sockopt::SndBuf)? >= wanted {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "a change of {bytes} bytes is more than this machine lets be sent (net.core.wmem_max)"
    )))
}

/// What is there to be read.
pub fn receive(socket: &Socket) -> io::Result<Option<Vec<u8>>> {
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
pub fn ask(socket: &Socket, request: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
    forget(socket)?;
    socket.send(request, 0)?;
    let mut answer = Answer::default();
    loop {
        let mut buffer = Vec::with_capacity(1 << 16);
        socket.recv(&mut buffer, 0)?;
        if answer.take(&buffer)? {
            return Ok((!answer.interrupted).then_some(answer.found));
        }
    }
}

/// The same of a list, until it is one that did not change.
pub fn list(socket: &Socket, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    for _ in 0..LISTINGS {
        if let Some(all) = ask(socket, request)? {
            return Ok(all);
        }
    }
    Err(io::Error::other("they change all the time"))
}

/// As much of an answer as was read.
#[derive(Default)]
struct Answer {
    found: Vec<Vec<u8>>,
    interrupted: bool,
}

impl Answer {
    /// Reads on; says whether that was the end.
    fn take(&mut self, datagram: &[u8]) -> io::Result<bool> {
        for message in wire::messages(datagram) {
            self.interrupted |= message.flags & DUMP_INTERRUPTED != 0;
            match message.kind {
                // The end of a list says how it ended.
                NLMSG_DONE if message.body.is_empty() => return Ok(true),
                NLMSG_DONE | NLMSG_ERROR => return wire::acknowledged(message.body).map(|()| true),
                _ => {
                    let attributes = message.body.get(4..).unwrap_or_default();
                    self.found.push(attributes.to_vec());
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages, each of type, flags and what follows netlink's header.
    fn datagram(messages: &[(u16, u16, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (kind, flags, body) in messages {
            let length = 16 + body.len() as u32;
            all.extend(length.to_ne_bytes());
            all.extend(kind.to_ne_bytes());
            all.extend(flags.to_ne_bytes());
            all.extend([0; 8]);
            all.extend(*body);
        }
        all
    }

    #[test]
    fn an_answer_says_how_it_ended() {
        let refused = (-libc::ENOMEM).to_ne_bytes();
        let thing: (u16, u16, &[u8]) = (7, 0, &[2, 0, 0, 0, 1, 2, 3, 4]);
        for end in [NLMSG_DONE, NLMSG_ERROR] {
            let mut answer = Answer::default();
            assert!(!answer.take(&datagram(&[thing])).unwrap());
            let last = datagram(&[thing, (end, 0, &[0; 4])]);
            assert!(answer.take(&last).unwrap());
            assert_eq!(answer.found, [[1, 2, 3, 4]; 2]);
            assert!(!answer.interrupted);
            let broken = datagram(&[thing, (end, 0, &refused)]);
            let error = Answer::default().take(&broken).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        }
        let nothing_said = datagram(&[(NLMSG_DONE, 0, &[])]);
        assert!(Answer::default().take(&nothing_said).unwrap());
        assert!(
            Answer::default()
                .take(&datagram(&[(NLMSG_ERROR, 0, &[])]))
                .is_err()
        );
        let mut answer = Answer::default();
        let changed = datagram(&[(7, DUMP_INTERRUPTED, &[0; 4]), (NLMSG_DONE, 0, &[0; 4])]);
        assert!(answer.take(&changed).unwrap() && answer.interrupted);
    }

    #[test]
    fn what_is_too_large_to_be_sent_is_said() {
        let Ok(socket) = open() else {
            skiff_testing::skipped("there is no netlink of netfilter");
            return;
        };
        let error = make_room(&socket, 5 << 30).unwrap_err().to_string();
        assert!(
            error.contains("a change of 5368709120 bytes is more than this machine lets be sent"),
            "{error}"
        );
        // The same for somebody who must keep to the machine's limit. Rights are a thread's own.
        let limit = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let small = std::thread::spawn(move || {
            let socket = open().unwrap();
            if nix::unistd::geteuid().is_root() {
                let nobody = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
                assert!(nobody == 0, "{}", io::Error::last_os_error());
            }
            (make_room(&socket, 1000), make_room(&socket, 2 * limit + 1))
        });
        let (fits, does_not) = small.join().unwrap();
        fits.unwrap();
        let error = does_not.unwrap_err().to_string();
        assert!(error.contains("net.core.wmem_max"), "{error}");
    }
}
