//! The gate that asks for the client's address.

use std::net::IpAddr;

use super::Networks;
use crate::why::Why;

#[derive(Debug)]
pub(crate) struct Access {
    /// None if everybody may pass who is not denied.
    pub allow: Option<Networks>,
    pub deny: Networks,
}

impl Access {
    pub(super) fn pass(&self, client: Option<IpAddr>) -> Result<(), Why> {
        let allowed = self
            .allow
            .as_ref()
            .is_none_or(|allow| allow.contains(client));
        match allowed && !self.deny.contains(client) {
            true => Ok(()),
            false => Err(Why::DeniedIp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse().unwrap()), false)
    }

    #[test]
    fn deny_beats_allow_and_an_allowed_one_shuts_out_the_others() {
        type Row<'a> = (Option<&'a [&'a str]>, &'a [&'a str], &'a str, bool);
        let table: [Row<'_>; 7] = [
            (None, &[], "192.0.2.1", true),
            (None, &["192.0.2.0/24"], "192.0.2.1", false),
            (None, &["192.0.2.0/24"], "198.51.100.1", true),
            (Some(&["10.0.0.0/8"]), &[], "10.9.9.9", true),
            (Some(&["10.0.0.0/8"]), &[], "11.0.0.0", false),
            (Some(&["10.0.0.0/8"]), &["10.1.0.0/16"], "10.1.2.3", false),
            (Some(&[]), &[], "10.0.0.1", false),
        ];
        for (allow, deny, client, passes) in table {
            let access = Access {
                allow: allow.map(networks),
                deny: networks(deny),
            };
            let client = client.parse().ok();
            assert_eq!(access.pass(client).is_ok(), passes, "{access:?} {client:?}");
        }
    }
}
