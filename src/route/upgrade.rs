//! Which protocols the connections of a route may switch to, and how long their tunnels may be still.

use std::time::Duration;

#[derive(Debug)]
pub struct Upgrades {
    pub protocols: Vec<String>,
    /// Without a byte either way for this long, a tunnel ends.
    pub idle: Duration,
    /// The same once one side has finished sending.
    pub half_closed: Duration,
}

impl Upgrades {
    pub fn allow(&self, protocol: &str) -> bool {
        let mut allowed = self.protocols.iter();
        allowed.any(|allowed| allowed.eq_ignore_ascii_case(protocol))
    }
}
