//! Bytes moved from one connection to another inside of the kernel, by way of a pipe: they are copied
//! neither here nor there, which is most of what a long body costs. A worker has few pipes. They are
//! kept for the next body, and whoever gets none copies.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use super::{ReadHalf, WriteHalf};

/// Pipes of one worker. Each is two open files, and clients that take nothing hold on to theirs.
const MOST: usize = 32;
/// Asked for, in bytes. Packets from a network fill a pipe with far less than a page in each of its slots.
const ROOM: usize = 256 * 1024;

/// A pipe with bytes in it.
#[derive(Debug)]
pub struct Pipe {
    /// None only while it is being dropped.
    ends: Option<Ends>,
    held: usize,
}

/// Where bytes come out, and where they go in.
#[derive(Debug)]
struct Ends(OwnedFd, OwnedFd);

#[derive(Default)]
struct Pipes {
    spare: RefCell<Vec<Ends>>,
    open: Cell<usize>,
}

thread_local! {
    static PIPES: Pipes = Pipes::default();
}

impl Pipe {
    /// Moves what has arrived, at most `most` bytes; none where that cannot be, or nothing more comes: a
    /// read will tell.
    pub(crate) fn poll_from(
        from: &ReadHalf,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Self>>> {
        let ReadHalf::Plain(from) = from else {
            return Poll::Ready(Ok(None));
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        loop {
            ready!(from.poll_read_ready(cx))?;
            let Some(mut pipe) = Self::take() else {
                return Poll::Ready(Ok(None));
            };
            let moved = match &pipe.ends {
                Some(Ends(_, into)) => from.try_io(|from| splice(from, into.as_fd(), most)),
                None => Ok(0),
            };
            return Poll::Ready(match moved {
                Ok(0) => Ok(None),
                Ok(moved) => {
                    pipe.held = moved;
                    Ok(Some(pipe))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) if is_impossible(&error) => Ok(None),
                Err(error) => Err(error),
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.held
    }

    /// Moves on what `to` takes at once.
    pub(crate) fn try_write(&mut self, to: &WriteHalf) -> io::Result<usize> {
        let (WriteHalf::Plain(to), Some(Ends(out, _))) = (to, &self.ends) else {
            return Err(ErrorKind::Unsupported.into());
        };
        let moved = to.try_io(|to| splice(out.as_fd(), to, self.held))?;
        self.held -= moved;
        Ok(moved)
    }

    /// A spare one, or a new one if there may be more.
    fn take() -> Option<Self> {
        let pipe = |ends| Self {
            ends: Some(ends),
            held: 0,
        };
        PIPES.with(|pipes| {
            if let Some(ends) = pipes.spare.borrow_mut().pop() {
                return Some(pipe(ends));
            }
            let open = pipes.open.get();
            let ends = (open < MOST).then(make)?.ok()?;
            pipes.open.set(open + 1);
            Some(pipe(ends))
        })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        // A thread that ends has given up its spares already.
        let _ = PIPES.try_with(|pipes| {
            if self.held == 0 {
                pipes.spare.borrow_mut().push(ends);
            } else {
                // The bytes go with it.
                pipes.open.set(pipes.open.get() - 1);
            }
        });
    }
}

#[cfg(target_os = "linux")]
fn make() -> io::Result<Ends> {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
    let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // A user may have only so much of it. A smaller one does it, too.
    let _ = fcntl_setpipe_size(&into, ROOM);
    Ok(Ends(out, into))
}

#[cfg(target_os = "linux")]
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    use rustix::pipe::{SpliceFlags, splice};
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn make() -> io::Result<Ends> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn splice(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: usize) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// A kernel, or what stands in for one in a sandbox, that does not move bytes from such a socket.
fn is_impossible(error: &io::Error) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}
