//! What the kernel knows of a connection, so that a test can wait until bytes or an end have arrived.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// One end of a connection over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    local: SocketAddr,
    peer: SocketAddr,
}

#[derive(Debug)]
struct Row {
    state: u8,
    unsent: u64,
    unread: u64,
}

const ESTABLISHED: u8 = 1;

impl End {
    pub(crate) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Self { local, peer }
    }

    /// Nothing that arrived is still to be read, by nobody if the connection is gone.
    pub(crate) fn has_read_all(self) -> bool {
        self.row().is_none_or(|row| row.unread == 0)
    }

    /// The peer has taken all that was written, or its kernel has.
    pub(crate) fn has_sent_all(self) -> bool {
        self.row().is_some_and(|row| row.unsent == 0)
    }

    /// The peer has said that nothing more comes, or the connection is gone.
    pub(crate) fn has_ended(self) -> bool {
        self.row().is_none_or(|row| row.state != ESTABLISHED)
    }

    fn row(self) -> Option<Row> {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        table.lines().skip(1).find_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let ends = (address(words.next()?)?, address(words.next()?)?);
            if ends != (self.local, self.peer) {
                return None;
            }
            let state = u8::from_str_radix(words.next()?, 16).ok()?;
            let (unsent, unread) = words.next()?.split_once(':')?;
            Some(Row {
                state,
                unsent: u64::from_str_radix(unsent, 16).ok()?,
                unread: u64::from_str_radix(unread, 16).ok()?,
            })
        })
    }
}

/// As the table has it: the address as a number of the machine, the port as one of the network.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
}
