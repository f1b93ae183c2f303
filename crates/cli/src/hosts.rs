//! Hosts of addresses: this machine in all its spellings, and the services of an AWS instance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns true if a host is this machine: `localhost`, `127.1`, `0x7f000001`, `[::ffff:127.0.0.1]`, `0.0.0.0`.
pub fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_named = matches!(
        name.as_str(),
        "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback"
    );
    if is_named || name.ends_with(".localhost") {
        return true;
    }
    // A connection to the unspecified address reaches this machine.
    address(host).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Returns true if a host is in this network only: an address that no router passes on, such as the credentials service
/// of an AWS instance (169.254.169.254, fd00:ec2::254) or a container (169.254.170.2).
pub fn is_link_local(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0x0ec2],
        None => false,
    }
}

/// Returns true if a host is an address of a private network (RFC 1918, RFC 4193).
pub fn is_private(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(ip)) => ip.is_private(),
        Some(IpAddr::V6(ip)) => ip.is_unique_local(),
        None => false,
    }
}

/// Reads a host that is an IP address, in any spelling that the system's resolver takes.
pub fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.split('%').next().unwrap_or_default();
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return Some(ip.to_canonical());
    }
    old_ipv4(host.trim_end_matches('.')).map(IpAddr::V4)
}

/// Reads an IPv4 address as `inet_aton` does: one to four numbers, decimal, octal or hexadecimal; the last number fills
/// the bytes that are left.
fn old_ipv4(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let is_small = first.iter().all(|part| *part < 256);
    let left = 4_usize.checked_sub(first.len())?;
    let fits = left > 0 && u64::from(*last) < 1_u64 << (8 * left);
    if !is_small || !fits {
        return None;
    }
    let high = first
        .iter()
        .enumerate()
        .fold(0, |sum, (i, part)| sum | part << (24 - 8 * i));
    Some(Ipv4Addr::from(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` would accept a plus sign.
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    is_number.then(|| u32::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_many_spellings() {
        for host in [
            "localhost",
            "LocalHost",
            "localhost.",
            "app.localhost",
            "localhost.localdomain",
            "127.0.0.1",
            "127.255.0.9",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7F000001",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
            "0",
            "[::1]",
            "::1",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::1%lo]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "notlocalhost",
            "128.0.0.1",
            "127.0.0.256",
            "127.0.0.0.1",
            "1.2.3",
            "0x",
            "08.1",
            "[fe80::1]",
            "",
            ".",
            "+127.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_services_of_an_instance_are_link_local() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "[fd00:ec2::254]",
            "[fe80::1%eth0]",
        ] {
            assert!(is_link_local(host), "{host}");
        }
        for host in ["169.255.0.1", "[fd00:ec3::254]", "example.com"] {
            assert!(!is_link_local(host), "{host}");
        }
        assert!(is_private("10.1.2.3") && is_private("192.168.0.1") && is_private("[fd12::1]"));
        assert!(!is_private("11.1.2.3"));
    }
}
