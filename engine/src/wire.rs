//! Headers as they stand on the wire: views that read fields, nothing more.

/// IPv4 (RFC 894).
pub const ETHERTYPE_IP4: u16 = 0x0800;
/// ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv6 (RFC 2464).
pub const ETHERTYPE_IP6: u16 = 0x86dd;

/// IP protocol numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6.
    pub const ICMP6: u8 = 58;
    /// IPv6 no next header.
    pub const NONE: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// PIM.
    pub const PIM: u8 = 103;
}

/// The big-endian word at `at`.
///
/// # Panics
/// If `bytes` ends before it; with a constant `at` into an array the check is gone at compile time.
#[inline(always)]
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(part(bytes, at))
}

/// The big-endian double word at `at`.
///
/// # Panics
/// As [`be16`].
#[inline(always)]
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(part(bytes, at))
}

/// The `N` bytes at `at`, in one load.
///
/// # Panics
/// As [`be16`].
#[inline(always)]
pub fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("bytes end before the word")
}

/// An IPv4 header without options (RFC 791).
#[derive(Clone, Copy)]
pub struct Ip4<'a>(pub &'a [u8; 20]);

impl Ip4<'_> {
    /// Version in the high four bits, header length in words in the low four.
    #[inline(always)]
    pub fn version_and_length(self) -> u8 {
        self.0[0]
    }

    /// The header's length in bytes, options and all; may be less than 20 in a bad packet.
    #[inline(always)]
    pub fn header_len(self) -> u16 {
        (self.0[0] & 15) as u16 * 4
    }

    /// The packet's length in bytes, header and all.
    #[inline(always)]
    pub fn total_len(self) -> u16 {
        be16(self.0, 2)
    }

    /// Is it a fragment: more to come, or not the first?
    #[inline(always)]
    pub fn is_fragment(self) -> bool {
        be16(self.0, 6) & 0x3fff != 0
    }

    /// May nobody fragment it?
    #[inline(always)]
    pub fn dont_fragment(self) -> bool {
        self.0[6] & 0x40 != 0
    }

    /// Time to live.
    #[inline(always)]
    pub fn ttl(self) -> u8 {
        self.0[8]
    }

    /// What is inside.
    #[inline(always)]
    pub fn protocol(self) -> u8 {
        self.0[9]
    }

    /// Source, in host byte order.
    #[inline(always)]
    pub fn source(self) -> u32 {
        be32(self.0, 12)
    }

    /// Destination, in host byte order.
    #[inline(always)]
    pub fn destination(self) -> u32 {
        be32(self.0, 16)
    }

    /// Is the checksum right, given that there are no options? The sum over the header in one's complement is then zero modulo 0xffff, and
    /// so is one over longer words whose carries come round.
    #[inline(always)]
    pub fn is_checksum_right(self) -> bool {
        let [a, b] = [0, 8].map(|at| self.0[at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word)));
        let c = self.0.last_chunk().map_or(0, |word| u32::from_ne_bytes(*word));
        let (sum, carry) = a.overflowing_add(b);
        let (sum, carry) = add(sum, c as u64, carry);
        // Having wrapped round, the sum is so small that one more does not wrap again.
        (sum + carry as u64).is_multiple_of(0xffff)
    }
}

/// The sum of all three, and whether it has wrapped round: one instruction, of processors that have a carry.
#[inline(always)]
fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry as u64);
    (sum, first | second)
}

/// Folds a sum of words in any byte order to 16 bits with its carries (RFC 1071 §2).
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The sum over `bytes`, not complemented, in the byte order of this machine.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]) as u64);
    fold(words.sum())
}

/// An IPv6 header (RFC 8200 §3).
#[derive(Clone, Copy)]
pub struct Ip6<'a>(pub &'a [u8; 40]);

impl<'a> Ip6<'a> {
    /// 6, in a good packet.
    #[inline(always)]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Bytes behind this header.
    #[inline(always)]
    pub fn payload_len(self) -> u16 {
        be16(self.0, 4)
    }

    /// What is behind this header.
    #[inline(always)]
    pub fn next_header(self) -> u8 {
        self.0[6]
    }

    /// Hops that are left.
    #[inline(always)]
    pub fn hop_limit(self) -> u8 {
        self.0[7]
    }

    /// Source, in network byte order.
    #[inline(always)]
    pub fn source(self) -> &'a [u8; 16] {
        self.0[8..].first_chunk().expect("16 of 40 bytes from 8 on")
    }

    /// Destination, in network byte order.
    #[inline(always)]
    pub fn destination(self) -> &'a [u8; 16] {
        self.0[24..].first_chunk().expect("16 of 40 bytes from 24 on")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 §3: 0001 f203 f4f5 f6f7 sum to ddf2 with carries.
    #[test]
    fn the_sum_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn folding_keeps_every_carry() {
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0x1_0000_0000), 1);
        assert_eq!(fold(5 * 0xffff_ffff), 0xffff);
    }
}
