//! A unix socket that listens, and the file that is its name.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::socket::BACKLOG;

/// The file goes with it.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

impl UnixSocket {
    pub(super) fn listen(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let file = SocketFile::new(path)?;
        // Nobody can connect before it listens, so nobody slips in before the mode is set.
        file.set_mode(mode)?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self { listener, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        self.file.set_mode(mode)
    }

    /// Takes the file away now, though connections may still be accepted for a moment: the path can
    /// be listened on anew.
    pub(super) fn unlink(&self) {
        self.file.unlink();
    }
}

/// A process that was killed leaves its file behind, and then nobody listens. Whatever is in use, or
/// is no socket, stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let message = "there is a file that is no socket";
        return Err(io::Error::new(ErrorKind::AlreadyExists, message));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One with a full backlog would make us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// By which it is known again: another process may have put its own in its place.
    identity: (u64, u64),
    /// As the umask left it.
    made: u32,
    gone: AtomicBool,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            made: metadata.permissions().mode(),
            gone: AtomicBool::new(false),
        })
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        let mode = mode.unwrap_or(self.made);
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    fn unlink(&self) {
        // Once only: its number may be that of the next file by then.
        if !self.gone.swap(true, Ordering::Relaxed) && self.is_ours() {
            // Somebody may have been faster.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.unlink();
    }
}
