//! An IP packet that a client wants routed: is it one that a router may send? (RFC 1122 §3.2.1, RFC 8200 §3)
//!
//! The graph judges what comes from the wire; what a client injects to be routed begins behind that, so it is judged here.

const HEADER4: usize = 20;
const HEADER6: usize = 40;

/// As many bytes of these as the header says are the packet: the rest is what a link put behind it. All of them, if it says more.
pub fn without_padding(bytes: &[u8]) -> &[u8] {
    let len = match bytes.first().map(|first| first >> 4) {
        Some(4) => word(bytes, 2).map(usize::from),
        Some(6) => word(bytes, 4).map(|payload| HEADER6 + usize::from(payload)),
        _ => None,
    };
    len.and_then(|len| bytes.get(..len)).unwrap_or(bytes)
}

/// An IPv4 packet of exactly these bytes, with a right checksum, time to live, and a source that may be somebody's.
pub fn is_ip4(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER4>() else { return false };
    let len = usize::from(header[0] & 15) * 4;
    let Some(all) = bytes.get(..len) else { return false };
    header[0] >> 4 == 4
        && len >= HEADER4
        && word(header, 2).map(usize::from) == Some(bytes.len())
        && sum(all) == 0xffff
        && header[8] > 0
        && !matches!(header[12], 0 | 127 | 224..)
}

/// An IPv6 packet of exactly these bytes, with hops left, and a source that may be somebody's.
pub fn is_ip6(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER6>() else { return false };
    let source = header[8..].first_chunk().map_or(0, |source| u128::from_be_bytes(*source));
    header[0] >> 4 == 6
        && word(header, 4).map(|payload| HEADER6 + usize::from(payload)) == Some(bytes.len())
        && header[7] > 0
        // Neither unspecified nor loopback, nor a group.
        && source > 1
        && header[8] != 0xff
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// The sum of RFC 1071 over an even number of bytes; 0xffff if there is a right checksum among them.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A good packet of this version, of so many bytes.
    pub fn packet(version: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![7; len];
        if version == 4 {
            packet[..HEADER4]
                .copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 2, 3, 4]);
            packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            seal(&mut packet);
        } else {
            packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 17, 64]);
            packet[4..6].copy_from_slice(&((len - HEADER6) as u16).to_be_bytes());
            packet[8..10].copy_from_slice(&[0xfd, 0]);
        }
        packet
    }

    /// Gives an IPv4 header the checksum that it should have.
    fn seal(packet: &mut [u8]) {
        packet[10..12].fill(0);
        let len = (usize::from(packet[0] & 15) * 4).clamp(HEADER4, packet.len() & !1);
        let sum = !sum(&packet[..len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn a_good_packet_is_taken_and_each_fault_is_seen() {
        let good = packet(4, 60);
        assert!(is_ip4(&good) && !is_ip6(&good));
        for (what, at, byte) in [
            ("version 6", 0, 0x65),
            ("a header of 16 bytes", 0, 0x44),
            ("a total length beyond the packet", 3, 61),
            ("a total length short of it", 3, 59),
            ("a total length of a header", 3, 20),
            ("no time to live", 8, 0),
            ("from nowhere", 12, 0),
            ("from loopback", 12, 127),
            ("from a group", 12, 224),
            ("from a reserved address", 12, 250),
            ("from everybody", 12, 255),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            seal(&mut bad);
            assert!(!is_ip4(&bad), "{what}");
        }
        for bit in 0..160 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_ip4(&bad), "bit {bit} is wrong");
        }
        assert!(!is_ip4(&[0x45; 40]) && !is_ip4(&good[..19]) && !is_ip4(&[]));
        // A header of 60 bytes with 24 there.
        let mut long = packet(4, 24);
        long[0] = 0x4f;
        seal(&mut long);
        assert!(!is_ip4(&long));
    }

    #[test]
    fn the_same_for_version_6() {
        let good = packet(6, 60);
        assert!(is_ip6(&good) && !is_ip4(&good) && is_ip6(&packet(6, 40)));
        for (what, at, byte) in [
            ("version 4", 0, 0x45),
            ("payload beyond the packet", 5, 21),
            ("payload short of it", 5, 19),
            ("no hops left", 7, 0),
            ("from a group", 8, 0xff),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(!is_ip6(&bad), "{what}");
        }
        for source in [0, 1] {
            let mut bad = good.clone();
            bad[8..24].fill(0);
            bad[23] = source;
            assert!(!is_ip6(&bad), "from ::{source}");
        }
        assert!(!is_ip6(&[0x60; 40]) && !is_ip6(&good[..39]));
    }

    #[test]
    fn padding_goes_and_nothing_else() {
        for version in [4, 6] {
            let good = packet(version, 46);
            assert_eq!(without_padding(&[&good[..], &[0; 14]].concat()), good);
            assert_eq!(without_padding(&good), good);
            assert_eq!(without_padding(&good[..45]), &good[..45], "it is not made longer");
        }
        assert!(without_padding(&[]).is_empty());
        assert_eq!(without_padding(&[0x45]), [0x45]);
        assert_eq!(without_padding(&[0x33; 9]), [0x33; 9]);
    }
}
