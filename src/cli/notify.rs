//! Telling systemd how a service is doing (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::fuse::Usable;

/// Tells that the service ends when it is dropped.
#[derive(Debug)]
pub(super) struct Running(());

/// Tells that the service is ready; what comes back is held while it is. Does nothing where nobody wants to know.
pub(super) fn ready() -> Running {
    tell("READY=1\nSTATUS=mounted");
    Running(())
}

impl Usable for Running {}

impl Drop for Running {
    fn drop(&mut self) {
        tell("STOPPING=1\nSTATUS=saving");
    }
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|s| !s.is_empty()) else { return };
    if let Err(e) = send(&socket, state) {
        log::warn!("the service manager cannot be told that {}: {e}", state.lines().next().unwrap_or_default());
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_file_system_and_abstract_ones_are_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("pkfs-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ];
        for (socket, address) in sockets {
            send(&address, "READY=1").unwrap();
            let mut got = [0; 64];
            let length = socket.recv(&mut got).unwrap();
            assert_eq!(got.get(..length), Some(&b"READY=1"[..]));
        }
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
