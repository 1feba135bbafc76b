//! Many datagrams by one call of the kernel, in and out: a call for each would take longer than the answers.
//!
//! Invariant: what is given to the kernel lives as long as its call, and what it wrote is looked at only as far as it says.

use std::{
    io,
    mem::{MaybeUninit, zeroed},
    os::fd::{AsRawFd, BorrowedFd},
};

/// How many at once.
pub const AT_ONCE: usize = 32;
/// Questions are shorter.
const LARGEST: usize = 2048;

/// An address as the kernel has it.
#[derive(Clone, Copy)]
pub struct From {
    address: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl From {
    /// Nobody can be answered at port 0.
    pub fn has_port(&self) -> bool {
        // the port is the second number in both families
        let bytes = (&raw const self.address).cast::<[u8; 4]>();
        // SAFETY: the storage is larger than that, and may be read as bytes.
        let [_, _, high, low] = unsafe { *bytes };
        (high, low) != (0, 0)
    }
}

/// Datagrams that came, or that are to go.
pub struct Datagrams {
    buffers: Box<[[u8; LARGEST]; AT_ONCE]>,
    from: [From; AT_ONCE],
    lengths: [usize; AT_ONCE],
}

impl Default for Datagrams {
    fn default() -> Self {
        // SAFETY: an address of zeros is one of no family.
        let from = unsafe { zeroed() };
        Datagrams {
            buffers: Box::new([[0; LARGEST]; AT_ONCE]),
            from: [from; AT_ONCE],
            lengths: [0; AT_ONCE],
        }
    }
}

impl Datagrams {
    /// Takes those that are there; how many that were.
    pub fn receive(&mut self, socket: BorrowedFd) -> io::Result<usize> {
        // SAFETY: both are plain data of the kernel's, for which zeros are fine.
        let mut parts: [libc::iovec; AT_ONCE] = unsafe { zeroed() };
        let mut heads: [libc::mmsghdr; AT_ONCE] = unsafe { zeroed() };
        let all = self.buffers.iter_mut().zip(&mut self.from);
        for ((part, head), (buffer, from)) in parts.iter_mut().zip(&mut heads).zip(all) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = LARGEST;
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_name = (&raw mut from.address).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        // SAFETY: heads, parts, buffers and addresses outlive the call, and are of the lengths told.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                AT_ONCE as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (number, head) in heads.iter().enumerate().take(count) {
            self.lengths[number] = (head.msg_len as usize).min(LARGEST);
            self.from[number].length = head.msg_hdr.msg_namelen;
        }
        Ok(count)
    }

    pub fn get(&self, number: usize) -> (&[u8], From) {
        let bytes = &self.buffers[number][..self.lengths[number]];
        (bytes, self.from[number])
    }
}

/// Datagrams that are to go, one behind the other.
#[derive(Default)]
pub struct Outgoing {
    pub bytes: Vec<u8>,
    /// Where each ends, and whom it is for.
    to: Vec<(usize, From)>,
}

impl Outgoing {
    /// What was written since the last is for this one.
    pub fn end(&mut self, to: From) {
        self.to.push((self.bytes.len(), to));
    }

    /// No more may be written before what is there was sent.
    pub fn is_full(&self) -> bool {
        self.to.len() >= AT_ONCE
    }

    /// Sends all, at most [`AT_ONCE`]; what the kernel has no room for is lost, as datagrams are.
    pub fn send(&mut self, socket: BorrowedFd) {
        let mut parts: [MaybeUninit<libc::iovec>; AT_ONCE] = [MaybeUninit::uninit(); AT_ONCE];
        // SAFETY: it is plain data of the kernel's, for which zeros are fine.
        let mut heads: [libc::mmsghdr; AT_ONCE] = unsafe { zeroed() };
        let (mut begin, mut count) = (0, 0);
        for ((part, head), (end, to)) in parts.iter_mut().zip(&mut heads).zip(&mut self.to) {
            let bytes = &mut self.bytes[begin..*end];
            let part = part.write(libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            });
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_name = (&raw mut to.address).cast();
            head.msg_hdr.msg_namelen = to.length;
            (begin, count) = (*end, count + 1);
        }
        let mut heads = &mut heads[..count];
        while !heads.is_empty() {
            // SAFETY: heads, parts, bytes and addresses outlive the call, and are of the lengths told.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    heads.as_mut_ptr(),
                    heads.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            // One that cannot be sent is passed over.
            let done = usize::try_from(sent).unwrap_or(0).max(1);
            heads = &mut heads[done..];
        }
        self.bytes.clear();
        self.to.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd, time::Duration};

    use super::*;

    #[test]
    fn there_and_back() {
        let (server, client) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        client.connect(server.local_addr().unwrap()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut datagrams = Datagrams::default();
        let none = datagrams.receive(server.as_fd()).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        for number in 0..AT_ONCE as u8 + 3 {
            client.send(&[number; 3]).unwrap();
        }
        let mut outgoing = Outgoing::default();
        for count in [AT_ONCE, 3] {
            assert_eq!(datagrams.receive(server.as_fd()).unwrap(), count);
            for number in 0..count {
                let (bytes, from) = datagrams.get(number);
                assert!(bytes.len() == 3 && from.has_port());
                outgoing.bytes.extend(bytes);
                outgoing.bytes.push(9);
                outgoing.end(from);
            }
            outgoing.send(server.as_fd());
        }
        for number in 0..AT_ONCE as u8 + 3 {
            let mut buffer = [0; 9];
            assert_eq!(client.recv(&mut buffer).unwrap(), 4);
            assert_eq!(buffer[..4], [number, number, number, 9]);
        }
    }
}
