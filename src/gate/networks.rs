//! A set of networks, asked in the time of a binary search: lists of files may be long.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// Ranges in their order, none of which touches another. An IPv4 address mapped into IPv6 is the IPv4
/// address.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    /// Those of unix sockets, too, who have no address.
    unix: bool,
}

impl Networks {
    pub(crate) fn new(networks: impl Iterator<Item = IpNet>, unix: bool) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let (first, last) = (network.network(), network.broadcast());
            match (number(first), number(last)) {
                // A network of IPv6 may hold all that IPv4 can be mapped to; it is not meant by it.
                ((Family::V4, first), (Family::V4, last)) => v4.push((first, last)),
                ((_, first), (_, last)) => v6.push((first, last)),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
            unix,
        }
    }

    pub(crate) fn contains(&self, client: Option<IpAddr>) -> bool {
        let Some(address) = client else {
            return self.unix;
        };
        let (family, number) = number(address);
        let ranges = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let after = ranges.partition_point(|(first, _)| *first <= number);
        let range = after.checked_sub(1).map(|at| ranges[at]);
        range.is_some_and(|(first, last)| RangeInclusive::new(first, last).contains(&number))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

fn number(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address))),
        IpAddr::V6(address) => (Family::V6, u128::from(address)),
    }
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<[u8; 4]>(), 0..=32_u8);
        let v4 = v4.prop_map(|(octets, bits)| IpNet::new(octets.into(), bits).unwrap());
        let v6 = (any::<[u8; 2]>(), 0..=128_u8).prop_map(|(few, bits)| {
            let mut octets = [0; 16];
            octets[..2].copy_from_slice(&few);
            IpNet::new(octets.into(), bits).unwrap()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn it_holds_what_one_of_its_networks_holds(
            networks in prop::collection::vec(network(), 0..20),
            at in any::<prop::sample::Index>(),
            low in any::<u32>(),
        ) {
            let set = Networks::new(networks.iter().copied(), false);
            let mut asked = vec![IpAddr::from(low.to_be_bytes())];
            if !networks.is_empty() {
                // At an edge of one, and beside it.
                let network = at.get(&networks);
                asked.extend([network.network(), network.broadcast(), network.addr()]);
                asked.extend(beside(network.broadcast()));
            }
            for address in asked {
                let address = address.to_canonical();
                let expected = networks.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.contains(Some(address)), expected, "{}", address);
            }
        }
    }

    fn beside(address: IpAddr) -> Option<IpAddr> {
        Some(match address {
            IpAddr::V4(address) => IpAddr::from(u32::from(address).checked_add(1)?.to_be_bytes()),
            IpAddr::V6(address) => IpAddr::from(u128::from(address).checked_add(1)?.to_be_bytes()),
        })
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_maps_and_a_socket_has_none() {
        let set = Networks::new(["192.0.2.0/24".parse().unwrap()].into_iter(), false);
        assert!(set.contains("::ffff:192.0.2.9".parse().ok()));
        assert!(!set.contains(None));
        assert!(Networks::new(std::iter::empty(), true).contains(None));
    }
}
