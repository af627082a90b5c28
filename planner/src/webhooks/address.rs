//! Addresses of the Internet, as against those of one's own network: a URL that somebody else may choose must
//! not lead to the latter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether anybody on the Internet may be meant by it. An IPv6 address that stands for an IPv4 one is as that.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let internal = address.is_private()
        || address.is_loopback()
        || address.is_link_local() // and so the metadata of clouds
        || a == 0 // this network
        || (a == 100 && (64..128).contains(&b)) // carriers' NAT, and metadata of one cloud
        || (a, b, c) == (192, 0, 0) // protocol assignments
        || (a, b, c) == (192, 88, 99) // relays of 6to4
        || (a == 198 && (18..20).contains(&b)) // benchmarks
        || address.octets() == [168, 63, 129, 16] // the host of one cloud
        || address.is_documentation()
        || a >= 224; // multicast, reserved, broadcast
    !internal
}

/// Global unicast, without what leads elsewhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let internal = a & 0xe000 != 0x2000 // 2000::/3 is all that is given out
        || (a == 0x2001 && b < 0x200) // protocol assignments; Teredo stands for an IPv4 address
        || (a, b) == (0x2001, 0x0db8) // documentation
        || a == 0x2002 // 6to4 stands for an IPv4 address
        || (a == 0x3fff && b < 0x1000); // documentation
    !internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_inside_is_not_public() {
        for internal in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "198.18.0.1",
            "198.19.255.255",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ] {
            assert!(!is_public(internal.parse().unwrap()), "{internal}");
        }
    }

    #[test]
    fn what_is_on_the_internet_is() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2606:4700:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
