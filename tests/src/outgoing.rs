//! What a host sends, byte for byte, as its network card gets it.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::PACKET_OUTGOING;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
};

use crate::namespace::Namespace;

/// Frames that wait to be read, in bytes of kernel memory: more than any test sends.
const ROOM: usize = 16 << 20;

/// What a host sends out of its `eth0`.
#[derive(Debug)]
pub struct Outgoing {
    socket: OwnedFd,
    interface: usize,
}

impl Outgoing {
    /// From now on.
    ///
    /// # Panics
    /// Without the right to look at packets, which whoever made the namespace has.
    pub fn of(host: &Namespace) -> Outgoing {
        host.enter(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )
            .expect("root may look at packets");
            setsockopt(&socket, RcvBufForce, &ROOM).expect("root may ask for much");
            Outgoing { socket, interface: if_nametoindex("eth0").expect("a host has an eth0") as usize }
        })
    }

    /// The frames since the last call.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((len, Some(from))) => {
                    if from.ifindex() == self.interface && from.pkttype() == PACKET_OUTGOING {
                        frames.push(buffer[..len].to_vec());
                    }
                }
                Ok((_, None)) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return frames,
                Err(errno) => panic!("what a host sends cannot be read: {errno}"),
            }
        }
    }
}
