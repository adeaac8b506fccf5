//! Which addresses may be reached: names are resolved here, and what they resolve to is judged before anything is connected.
//!
//! A name that is allowed may still lead inside: its owner, or whoever answers for it, chooses the addresses. So an address
//! that is not public is only reached when the connection says so (`private`), or when its very text stands in the
//! connection. Where clouds keep their credentials (link-local addresses, and the few others in [`METADATA`]) only the very
//! text counts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses that give out credentials and don't look like it: Amazon's and Google's over IPv6, Alibaba's, Oracle's, the host of Azure's machines.
const METADATA: &[IpAddr] = &[
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub(in crate::capability) struct Reach {
    /// `private: true`.
    pub(in crate::capability) private: bool,
    /// Addresses that stand in the connection as such.
    pub(in crate::capability) addresses: BTreeSet<IpAddr>,
    /// Whether `localhost` stands there.
    pub(in crate::capability) localhost: bool,
}

/// Why an address is not reached.
#[derive(Debug, thiserror::Error)]
#[error("{host} is at {address}, {what}; {way_out}")]
pub(in crate::capability) struct Refused {
    host: String,
    address: IpAddr,
    what: &'static str,
    way_out: &'static str,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Public,
    Private,
    /// Reached by its very text only.
    Guarded,
    /// Nobody's, or everybody's.
    Nowhere,
}

impl Reach {
    /// Says whether `host`, a name or an address, may be reached at `address`.
    pub(in crate::capability) fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let refused = |what, way_out| Refused { host: host.to_owned(), address, what, way_out };
        match zone(address) {
            Zone::Public => Ok(()),
            Zone::Nowhere => Err(refused("which is no host's address", "correct the name or its records")),
            _ if self.addresses.contains(&address) => Ok(()),
            Zone::Private if self.private => Ok(()),
            Zone::Private if self.localhost && address.is_loopback() && is_localhost(host) => Ok(()),
            Zone::Private => {
                Err(refused("a private address", "say `private: true` in the connection if that is meant"))
            }
            Zone::Guarded => Err(refused(
                "a link-local or metadata address",
                "only a connection that names this very address reaches it",
            )),
        }
    }
}

/// The address that a URL's host is; none: it is a name.
pub(in crate::capability) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a name means this very machine, whatever its records say (RFC 6761).
pub(in crate::capability) fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

fn zone(address: IpAddr) -> Zone {
    match address {
        _ if METADATA.contains(&address) => Zone::Guarded,
        IpAddr::V4(v4) => zone_v4(v4),
        IpAddr::V6(v6) => zone_v6(v6),
    }
}

fn zone_v4(address: Ipv4Addr) -> Zone {
    match address.octets() {
        [169, 254, ..] => Zone::Guarded,
        // "This" network, multicast, reserved, broadcast, documentation.
        [0 | 224..=255, ..] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Zone::Nowhere,
        // Private, loopback, shared by carriers, protocol assignments, benchmarking.
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] => Zone::Private,
        [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] => Zone::Private,
        _ => Zone::Public,
    }
}

fn zone_v6(address: Ipv6Addr) -> Zone {
    let [a, b, c, d, .., g, h] = address.segments();
    let embedded = |high: u16, low: u16| zone(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into());
    match a {
        0xfe80..=0xfebf => Zone::Guarded,
        0xff00..=0xffff => Zone::Nowhere,
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Zone::Private,
        0x2001 if b == 0xdb8 => Zone::Nowhere,
        // Addresses of IPv4 in other clothes: NAT64, 6to4, Teredo's would be hidden, compatible ones.
        0x64 if b == 0xff9b => embedded(g, h),
        0x2002 => embedded(b, c),
        0x2001 if b == 0 => Zone::Nowhere,
        0 if (b, c, d) == (0, 0, 0) => match address {
            Ipv6Addr::LOCALHOST => Zone::Private,
            Ipv6Addr::UNSPECIFIED => Zone::Nowhere,
            _ => embedded(g, h),
        },
        _ => Zone::Public,
    }
}

/// Resolves names for the client, and gives it only addresses that may be reached.
pub(in crate::capability) struct Resolver(pub(in crate::capability) Arc<Reach>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let (mut good, mut refused) = (Vec::new(), None);
            for address in found {
                match reach.check(host, address.ip()) {
                    Ok(()) => good.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match refused {
                Some(why) if good.is_empty() => Err(why.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Zone {
        zone(address.parse::<IpAddr>().unwrap().to_canonical())
    }

    #[test]
    fn addresses_are_sorted() {
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert_eq!(of(public), Zone::Public, "{public}");
        }
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "::7f00:1",
        ] {
            assert_eq!(of(private), Zone::Private, "{private}");
        }
        for guarded in [
            "169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "64:ff9b::a83f:8110",
            "::ffff:169.254.1.1",
        ] {
            assert_eq!(of(guarded), Zone::Guarded, "{guarded}");
        }
        for nowhere in
            ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "2001:db8::1", "192.0.2.1"]
        {
            assert_eq!(of(nowhere), Zone::Nowhere, "{nowhere}");
        }
    }

    #[test]
    fn what_is_not_public_has_to_be_granted() {
        let check =
            |reach: &Reach, host: &str, address: &str| reach.check(host, address.parse().unwrap()).is_ok();
        let public = Reach::default();
        assert!(check(&public, "example.com", "8.8.8.8"));
        assert!(!check(&public, "example.com", "127.0.0.1") && !check(&public, "localhost", "127.0.0.1"));
        let private = Reach { private: true, ..Reach::default() };
        assert!(check(&private, "db.internal", "10.0.0.1") && check(&private, "x", "::1"));
        assert!(!check(&private, "x", "169.254.169.254") && !check(&private, "x", "0.0.0.0"));
        let named = Reach { addresses: ["169.254.169.254".parse().unwrap()].into(), ..Reach::default() };
        assert!(
            check(&named, "169.254.169.254", "::ffff:169.254.169.254") && !check(&named, "x", "127.0.0.1")
        );
        let local = Reach { localhost: true, ..Reach::default() };
        assert!(check(&local, "LOCALHOST.", "127.0.0.1") && check(&local, "a.localhost", "::1"));
        assert!(!check(&local, "evil.example", "127.0.0.1") && !check(&local, "localhost", "10.0.0.1"));
    }
}
