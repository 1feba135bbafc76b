//! One request to the kernel's routing tables and its answer, over a netlink socket.
//!
//! Invariant: one request is under way on a socket at a time; an answer is read to its end before the next is asked. Follows rtnetlink(7).

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How a request is meant.
#[derive(Clone, Copy)]
pub enum How {
    /// All there is.
    List,
    /// One thing.
    Read,
    /// Made, if it is not there.
    Create,
    /// Made, or put in the place of what is there.
    Replace,
    /// Changed or deleted.
    Change,
}

impl How {
    fn flags(self) -> u16 {
        match self {
            How::List => NLM_F_DUMP,
            How::Read => NLM_F_ACK,
            How::Create => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
            How::Replace => NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            How::Change => NLM_F_ACK,
        }
    }
}

/// A socket in the namespace of the thread that opened it.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Asks, and gathers what is answered. The kernel's refusals are errors with its number.
    pub fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        how: How,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        (request.header.flags, request.header.sequence_number) =
            (NLM_F_REQUEST | how.flags(), self.sequence);
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (data, _) = self.socket.recv_from_full()?;
            let mut rest = &data[..];
            while !rest.is_empty() {
                let answer =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|error| {
                        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                    })?;
                // each message is padded to four bytes
                let length = (answer.header.length as usize)
                    .next_multiple_of(4)
                    .clamp(1, rest.len());
                rest = &rest[length..];
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(answers),
                        Some(code) => return Err(io::Error::from_raw_os_error(code.get().abs())),
                    },
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
        }
    }
}
