//! Unix sockets by the addresses that operators write: a path, or `@` and an abstract name.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, connect, socket};

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
pub(crate) fn bind(text: &str, mode: u32) -> io::Result<UnixDatagram> {
    bound(SockType::Datagram, text, mode).map(UnixDatagram::from)
}

/// A socket there that clients connect to; as [`bind`]. It never blocks.
///
/// # Errors
/// As [`bind`].
pub(crate) fn listen(text: &str, mode: u32) -> io::Result<UnixListener> {
    let socket = bound(SockType::Stream, text, mode)?;
    nix::sys::socket::listen(&socket, Backlog::MAXALLOWABLE)
        .map_err(|error| said(&error.into(), text, "cannot be listened at"))?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bound(kind: SockType, text: &str, mode: u32) -> io::Result<OwnedFd> {
    let address = address(text)?;
    if address.as_pathname().is_some_and(|path| is_stale(path, text, kind)) {
        // If it cannot be removed, binding says so.
        let _ = fs::remove_file(text);
    }
    let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // The mode of the file that binding makes, so that nobody gets in between; the umask is mended after.
    let before = nix::sys::stat::Mode::from_bits_truncate(mode);
    nix::sys::stat::fchmod(socket.as_fd(), before)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &unix(text)?)
        .map_err(|error| said(&error.into(), text, "cannot be bound"))?;
    if let Some(path) = address.as_pathname() {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| said(&error, text, "cannot be given its permissions"))?;
    }
    Ok(socket)
}

/// The same address in the form that `nix` takes.
fn unix(text: &str) -> nix::Result<nix::sys::socket::UnixAddr> {
    match text.strip_prefix('@') {
        Some(name) => nix::sys::socket::UnixAddr::new_abstract(name.as_bytes()),
        None => nix::sys::socket::UnixAddr::new(text),
    }
}

/// Removes the socket's file, if it has one.
pub(crate) fn remove(text: &str) {
    if !text.starts_with('@') && is_socket(Path::new(text)) {
        // Nothing is lost if it stays: the next to bind removes it.
        let _ = fs::remove_file(text);
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

/// A socket's file that no socket is behind.
fn is_stale(path: &Path, text: &str, kind: SockType) -> bool {
    let refused = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let probe = socket(AddressFamily::Unix, kind, flags, None)?;
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

    #[test]
    fn only_a_socket_that_nobody_uses_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s").display().to_string();
        let first = bind(&path, 0o660).expect("free");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
        let error = bind(&path, 0o660).expect_err("in use").to_string();
        assert!(error.starts_with(&format!("{path} cannot be bound: ")), "{error}");
        drop(first);
        bind(&path, 0o600).expect("left behind");
        remove(&path);
        assert!(!Path::new(&path).exists());
        fs::write(&path, "precious").expect("a file");
        assert!(bind(&path, 0o660).is_err());
        remove(&path);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[test]
    fn a_place_to_connect_to_is_left_to_who_listens_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s").display().to_string();
        let first = listen(&path, 0o660).expect("free");
        assert!(listen(&path, 0o660).is_err() && bind(&path, 0o660).is_err());
        drop(first);
        drop(bind(&path, 0o660).expect("left behind"));
        drop(listen(&path, 0o660).expect("left behind"));
    }

    #[test]
    fn abstract_names_and_paths_are_told_apart() {
        let name = format!("@punt-socket-{}", std::process::id());
        let socket = bind(&name, 0o660).expect("free");
        let peer = socket.local_addr().expect("bound");
        assert!(is_at(&peer, &address(&name).expect("an address")));
        assert!(!is_at(&peer, &address("@other").expect("an address")));
        assert!(!is_at(&peer, &address(&name[1..]).expect("an address")));
        let unbound = UnixDatagram::unbound().and_then(|socket| socket.local_addr()).expect("unnamed");
        assert!(!is_at(&unbound, &address(&name).expect("an address")));
        assert!(address(&format!("/{}", "x".repeat(108))).is_err());
    }
}
