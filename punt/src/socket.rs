//! Unix sockets by the addresses that operators write: a path, or `@` and an abstract name.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, connect, socket};
use nix::unistd::geteuid;

/// Where a socket is bound. Dropped, it removes the socket's file, unless somebody has put something else there.
///
/// To be dropped before the socket: as long as that is open, no other file can have its number.
#[derive(Debug)]
pub struct Place {
    /// The path, and the device and number of the file there; an abstract name has none.
    file: Option<(PathBuf, (u64, u64))>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((path, ours)) = &self.file
            && fs::symlink_metadata(path).is_ok_and(|there| identity(&there) == *ours)
        {
            // Nothing is lost if it stays: the next to bind removes it.
            let _ = fs::remove_file(path);
        }
    }
}

/// The address in the system's form.
///
/// # Errors
/// If it is too long.
pub(crate) fn address(text: &str) -> io::Result<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(text),
    }
    .map_err(|error| said(&error, text, "is no address of a socket"))
}

/// A socket for datagrams bound there, with the permissions `mode`. A socket that somebody left behind there is removed first.
///
/// # Errors
/// If somebody uses that address, or the system says no; the sentence names the address.
pub(crate) fn bind(text: &str, mode: u32) -> io::Result<(Place, UnixDatagram)> {
    bound(SockType::Datagram, text, mode).map(|(place, socket)| (place, socket.into()))
}

/// A socket there that clients connect to, with the permissions `mode`: a path, or `@` and an abstract name. A socket that somebody left
/// behind there is removed first. It never blocks.
///
/// # Errors
/// If somebody uses that address (`AddrInUse`), or the system says no; the sentence names the address.
pub fn listen(text: &str, mode: u32) -> io::Result<(Place, UnixListener)> {
    let (place, socket) = bound(SockType::Stream, text, mode)?;
    nix::sys::socket::listen(&socket, Backlog::MAXALLOWABLE)
        .map_err(|error| said(&error.into(), text, "cannot be listened at"))?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok((place, listener))
}

fn bound(kind: SockType, text: &str, mode: u32) -> io::Result<(Place, OwnedFd)> {
    let address = address(text)?;
    if address.as_pathname().is_some_and(|path| is_stale(path, text)) {
        // If it cannot be removed, binding says so.
        let _ = fs::remove_file(text);
    }
    let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // The mode of the file that binding makes, so that nobody gets in between; what the umask takes from it is given back after.
    let before = nix::sys::stat::Mode::from_bits_truncate(mode);
    nix::sys::stat::fchmod(socket.as_fd(), before)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &unix(text)?)
        .map_err(|error| said(&error.into(), text, "cannot be bound"))?;
    let file = address.as_pathname().map(|path| Ok((path.to_owned(), permit(path, mode)?))).transpose();
    let file = file.map_err(|error: io::Error| said(&error, text, "cannot be given its permissions"))?;
    Ok((Place { file }, socket))
}

/// Gives the socket that was just bound at `path` these permissions; says which file it is. Whoever may write to the directory may have put
/// something else there meanwhile: so not the path but the file is changed, and only if it can be ours.
fn permit(path: &Path, mode: u32) -> io::Result<(u64, u64)> {
    let only_look = (OFlag::O_PATH | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(only_look).open(path)?;
    let there = file.metadata()?;
    let has = there.mode() & 0o777;
    let is_ours = there.file_type().is_socket() && there.uid() == geteuid().as_raw() && has & !mode == 0;
    if !is_ours {
        return Err(io::Error::other("somebody has put something else there"));
    }
    if has != mode {
        fs::set_permissions(same(&file), Permissions::from_mode(mode))?;
    }
    Ok(identity(&there))
}

/// A path that means this file, whatever becomes of its name.
fn same(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Device and number: no two files that exist have the same.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The same address in the form that `nix` takes.
fn unix(text: &str) -> nix::Result<nix::sys::socket::UnixAddr> {
    match text.strip_prefix('@') {
        Some(name) => nix::sys::socket::UnixAddr::new_abstract(name.as_bytes()),
        None => nix::sys::socket::UnixAddr::new(text),
    }
}

/// Whether this is where `peer` is bound.
pub(crate) fn is_at(peer: &SocketAddr, address: &SocketAddr) -> bool {
    match (peer.as_pathname(), address.as_pathname()) {
        (Some(peer), Some(path)) => peer == path,
        (None, None) => address.as_abstract_name().is_some_and(|name| peer.as_abstract_name() == Some(name)),
        _ => false,
    }
}

/// A socket's file that no socket is behind. Who listens there hears nothing of the question: datagrams are nothing to connect to a stream.
fn is_stale(path: &Path, text: &str) -> bool {
    let refused = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let probe = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        connect(probe.as_raw_fd(), &unix(text)?)
    };
    is_socket(path) && refused() == Err(Errno::ECONNREFUSED)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
}

/// The error with the address in its sentence.
pub(crate) fn said(error: &io::Error, address: &str, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{address} {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &str) -> u32 {
        fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn only_a_socket_that_nobody_uses_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s").display().to_string();
        let first = bind(&path, 0o660).expect("free");
        assert_eq!(mode(&path), 0o660);
        let error = bind(&path, 0o660).expect_err("in use").to_string();
        assert!(error.starts_with(&format!("{path} cannot be bound: ")), "{error}");
        drop(first);
        assert!(!Path::new(&path).exists());
        let (place, socket) = bind(&path, 0o660).expect("free");
        std::mem::forget(place);
        drop(socket);
        drop(bind(&path, 0o600).expect("left behind"));
        fs::write(&path, "precious").expect("a file");
        assert!(bind(&path, 0o660).is_err());
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[test]
    fn what_others_put_in_our_place_stays_theirs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s").display().to_string();
        let ours = bind(&path, 0o660).expect("free");
        fs::remove_file(&path).expect("somebody may");
        let theirs = bind(&path, 0o600).expect("free again");
        drop(ours);
        assert_eq!(mode(&path), 0o600, "it is theirs");
        drop(theirs);
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn nothing_but_our_socket_gets_its_permissions() {
        let directory = tempfile::tempdir().expect("a directory");
        let [secret, link, socket] = ["secret", "link", "socket"].map(|name| directory.path().join(name));
        fs::write(&secret, "secret").expect("a file");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("ours");
        std::os::unix::fs::symlink(&secret, &link).expect("a link");
        // More than was asked for: it is not what binding made.
        let _open = bind(&socket.display().to_string(), 0o666).expect("free");
        for there in [&secret, &link, &socket] {
            let error = permit(there, 0o660).expect_err("not ours").to_string();
            assert_eq!(error, "somebody has put something else there", "{}", there.display());
        }
        assert_eq!(mode(&secret.display().to_string()), 0o600);
        assert_eq!(mode(&socket.display().to_string()), 0o666);
    }

    #[test]
    fn a_place_to_connect_to_is_left_to_who_listens_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s").display().to_string();
        let (place, first) = listen(&path, 0o660).expect("free");
        assert!(listen(&path, 0o660).is_err() && bind(&path, 0o660).is_err());
        let knocked = first.accept().map(drop).expect_err("nobody has come");
        assert_eq!(knocked.kind(), io::ErrorKind::WouldBlock, "to ask whether it is used is not to come");
        drop((place, first));
        drop(bind(&path, 0o660).expect("left behind"));
        drop(listen(&path, 0o660).expect("left behind"));
    }

    #[test]
    fn abstract_names_and_paths_are_told_apart() {
        let name = format!("@punt-socket-{}", std::process::id());
        let (_place, socket) = bind(&name, 0o660).expect("free");
        let peer = socket.local_addr().expect("bound");
        assert!(is_at(&peer, &address(&name).expect("an address")));
        assert!(!is_at(&peer, &address("@other").expect("an address")));
        assert!(!is_at(&peer, &address(&name[1..]).expect("an address")));
        let unbound = UnixDatagram::unbound().and_then(|socket| socket.local_addr()).expect("unnamed");
        assert!(!is_at(&unbound, &address(&name).expect("an address")));
        assert!(address(&format!("/{}", "x".repeat(108))).is_err());
    }
}
