//! A TAP interface: the host's kernel, and whatever runs on it, gets the frames as if a wire had brought them.
//!
//! It is made when the sink is, goes with it, and comes back if somebody takes it away. With an interface of the router behind it, it stands
//! for that interface on the host: it has the same MAC and MTU, and what the host sends into it leaves there. Without one nobody reads what
//! the host sends; the kernel counts that as the TAP's `tx_dropped`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::Facts;
use super::batch::{Batch, split};
use super::output::{Progress, Then, Writer};
use crate::inject::{AT_ONCE, FRAME, Inject, Judge};
use crate::record::{HEADER, Header, SEND};
use crate::target;

/// Between two looks at the MAC and MTU of the interface that the TAP stands for.
const FOLLOW: Duration = Duration::from_millis(250);
/// What a TAP says that somebody took away.
const REMOVED: i32 = Errno::EBADFD as i32;

/// A TAP interface.
pub(super) struct Tap {
    name: String,
    /// None while it is taken away.
    device: Option<SyncDevice>,
    twin: Option<Twin>,
}

/// The interface that a TAP stands for.
struct Twin {
    interface: String,
    judge: Judge,
    /// A record that is injected.
    record: Vec<u8>,
    /// Its MAC and MTU, as the TAP has them.
    followed: Option<([u8; 6], u32)>,
    /// When they were looked at.
    looked: Option<Instant>,
}

impl Tap {
    /// Makes the TAP `name`. What the host sends into it leaves by `interface`.
    pub fn open(name: String, interface: Option<String>, inject: Option<Inject>) -> io::Result<Tap> {
        let device = Some(make(&name).map_err(why)?);
        let twin = interface.zip(inject).map(|(interface, inject)| {
            let judge = Judge::new(Inject { address: name.clone(), ..inject }, target::Header::Punt);
            Twin { interface, judge, record: vec![0; HEADER + FRAME], followed: None, looked: None }
        });
        Ok(Tap { name, device, twin })
    }

    /// The TAP is not there any more; it is made anew when it is looked for.
    fn removed(&mut self) {
        self.device = None;
        if let Some(twin) = &mut self.twin {
            (twin.followed, twin.looked) = (None, None);
        }
    }
}

fn make(name: &str) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync()?;
    device.set_nonblocking(true)?;
    Ok(device)
}

/// The same, with what would be right.
fn why(error: io::Error) -> io::Error {
    let right = match Errno::from_raw(errno(&error)) {
        Errno::EPERM | Errno::EACCES => "making a TAP interface wants root or CAP_NET_ADMIN",
        Errno::EBUSY => "another program has it open; name another",
        Errno::EINVAL => "the host has an interface of that name that is no TAP; name another",
        Errno::ENOENT | Errno::ENODEV => "the kernel has no /dev/net/tun; load the module tun",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {right}"))
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}

/// Whether the TAP is there and up; the errno if not.
fn is_up(device: &SyncDevice) -> Result<(), i32> {
    let fds = &mut [PollFd::new(device.as_fd(), PollFlags::POLLOUT)];
    poll(fds, PollTimeout::ZERO).map_err(|errno| errno as i32)?;
    match fds[0].revents().unwrap_or(PollFlags::empty()) {
        events if events.contains(PollFlags::POLLERR) => Err(REMOVED),
        events if events.contains(PollFlags::POLLOUT) => Ok(()),
        _ => Err(Errno::ENETDOWN as i32),
    }
}

impl Writer for Tap {
    fn write(&mut self, batch: &Batch, _: &dyn Facts) -> Progress {
        let Some(device) = &self.device else { return Progress { done: 0, then: Then::Gone(REMOVED) } };
        for (done, record) in batch.records().enumerate() {
            let Err(error) = device.send(split(record).1) else { continue };
            let then = match (Errno::from_raw(errno(&error)), is_up(device)) {
                (_, Err(errno)) => Then::Gone(errno),
                (Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM, _) => Then::Wait,
                (Errno::EINTR, _) => Then::Continue,
                (errno, _) => Then::Lost(1, errno as i32),
            };
            if then == Then::Gone(REMOVED) {
                self.removed();
            }
            return Progress { done, then };
        }
        Progress { done: batch.records().len(), then: Then::Continue }
    }

    fn probe(&mut self) -> Result<(), i32> {
        if self.device.is_none() {
            self.device = Some(make(&self.name).map_err(|error| errno(&error))?);
        }
        let up = self.device.as_ref().map_or(Err(REMOVED), is_up);
        if up == Err(REMOVED) {
            self.removed();
        }
        up
    }

    fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }

    fn serve(&mut self, now: Instant, facts: &dyn Facts) -> bool {
        let (Some(device), Some(twin)) = (&self.device, &mut self.twin) else { return false };
        twin.follow(device, now, facts);
        match twin.serve(device, now, facts) {
            Ok(more) => more,
            Err(_) => {
                self.removed();
                false
            }
        }
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.twin.as_ref().and(self.device.as_ref()).map(AsFd::as_fd)
    }

    fn judge(&self) -> Option<&Judge> {
        self.twin.as_ref().map(|twin| &twin.judge)
    }
}

impl Twin {
    /// Lets the TAP have the MAC and the MTU of its interface.
    fn follow(&mut self, device: &SyncDevice, now: Instant, facts: &dyn Facts) {
        if self.looked.is_some_and(|looked| now - looked < FOLLOW) {
            return;
        }
        let Some((_, interface)) = facts.interface_named(&self.interface) else { return };
        self.looked = Some(now);
        let wanted = (interface.mac, interface.mtu);
        if self.followed.replace(wanted) != Some(wanted) {
            // An MTU that the host does not take, or a MAC: it keeps its own, and `ip link` shows it.
            let _ = device.set_mac_address(interface.mac);
            let _ = device.set_mtu(interface.mtu.min(u16::MAX as u32) as u16);
        }
    }

    /// Takes what the host sent, up to a bound. Whether there may be more; an error if the TAP was taken away.
    fn serve(&mut self, device: &SyncDevice, now: Instant, facts: &dyn Facts) -> io::Result<bool> {
        let interface = facts.interface_named(&self.interface).map_or(u32::MAX, |(index, _)| index);
        let mut taken = 0;
        let result = loop {
            if taken == AT_ONCE {
                break Ok(true);
            }
            match device.recv(&mut self.record[HEADER..]) {
                Ok(len) => {
                    let header =
                        Header { interface, action: SEND, captured: len as u32, ..Header::default() };
                    self.record[..HEADER].copy_from_slice(&header.bytes());
                    self.judge.take(&self.record[..HEADER + len], now, facts);
                    taken += 1;
                }
                Err(error) if errno(&error) == REMOVED => break Err(error),
                Err(_) => break Ok(false),
            }
        };
        self.judge.publish();
        result
    }
}
