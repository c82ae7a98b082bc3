//! Packets on their way between queues and nodes: a vector of fixed capacity that owns what is in it.

use crate::{
    ffi, heap,
    packet::{Packet, free_bulk},
};

/// Up to `capacity` packets. What a tx queue does not take stays here, owned and in order.
#[derive(Debug)]
pub struct Burst {
    packets: Vec<Packet>,
    capacity: u16,
}

impl Burst {
    /// An empty burst; allocates once and never again.
    pub fn new(capacity: u16) -> Burst {
        Burst { packets: Vec::with_capacity(capacity.into()), capacity }
    }

    /// Appends a packet, or gives it back if the burst is full.
    #[inline]
    pub fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        let len = self.len();
        if len == self.capacity() {
            return Err(packet);
        }
        // SAFETY: the vector was made with this capacity, and the place is beyond its length; unlike Vec::push this never calls.
        unsafe {
            self.packets.as_mut_ptr().add(len).write(packet);
            self.packets.set_len(len + 1);
        }
        Ok(())
    }

    /// Takes the last packet.
    #[inline]
    pub fn pop(&mut self) -> Option<Packet> {
        self.packets.pop()
    }

    /// Packets in it.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none in it.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packets it can hold.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.capacity.into()
    }

    /// The packets, first received first.
    #[inline(always)]
    pub fn as_slice(&self) -> &[Packet] {
        &self.packets
    }

    /// The packets, to be changed.
    #[inline(always)]
    pub fn as_mut_slice(&mut self) -> &mut [Packet] {
        &mut self.packets
    }

    /// Takes all packets out, in order.
    #[inline]
    pub fn drain(&mut self) -> impl DoubleEndedIterator<Item = Packet> + ExactSizeIterator {
        self.packets.drain(..)
    }

    /// Takes all packets out, in order, each with the value at its place in `beside`. Packets beyond those stay.
    #[inline(always)]
    pub fn take_all<T: Copy>(&mut self, beside: &[T], mut take: impl FnMut(Packet, T)) {
        let len = self.packets.len();
        let seen = len.min(beside.len());
        // SAFETY: the vector forgets its packets first, so that whatever `take` does, none has two owners; each of the first `seen` is read
        // once, and the others are where they were or move up.
        unsafe {
            self.packets.set_len(0);
            let packets = self.packets.as_mut_ptr();
            let values = beside.as_ptr();
            for at in 0..seen {
                take(packets.add(at).read(), values.add(at).read());
            }
            packets.copy_from(packets.add(seen), len - seen);
            self.packets.set_len(len - seen);
        }
    }

    /// Takes out the packets at these places, which ascend, each with its place and the value there in `beside`. What is left moves up, packets
    /// and values alike. Places that do not ascend, and those without a packet or value, are passed over.
    #[inline(always)]
    pub fn take_out<T: Copy>(
        &mut self,
        places: &[u16],
        beside: &mut [T],
        mut take: impl FnMut(usize, Packet, T),
    ) {
        let len = self.packets.len();
        let seen = len.min(beside.len());
        let (packets, values) = (self.packets.as_mut_ptr(), beside.as_mut_ptr());
        let (mut kept, mut next) = (0, 0);
        // SAFETY: the vector forgets its packets first, so that whatever `take` does, none has two owners. `kept` <= `next` <= place < `seen`,
        // which is within both; places from `next` on are as they were, and each packet is either read once or moved up once.
        unsafe {
            self.packets.set_len(0);
            for place in places.iter().map(|&place| usize::from(place)) {
                if place < next || place >= seen {
                    continue;
                }
                // One by one: there are few between one place and the next.
                for from in next..place {
                    packets.add(kept).write(packets.add(from).read());
                    values.add(kept).write(values.add(from).read());
                    kept += 1;
                }
                next = place + 1;
                take(place, packets.add(place).read(), values.add(place).read());
            }
            packets.add(kept).copy_from(packets.add(next), len - next);
            values.add(kept).copy_from(values.add(next), seen - next.min(seen));
            self.packets.set_len(kept + len - next);
        }
    }

    /// The verdict on all of them: back to their pools, in one call.
    #[inline]
    pub fn clear_freeing(&mut self) {
        free_bulk(&mut self.packets);
    }

    /// Appends what `fill(room's start, room)` writes there; returns how many.
    ///
    /// # Safety
    /// `fill` writes that many mbufs, which it hands over, and returns at most `room`.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, fill: impl FnOnce(*mut *mut ffi::rte_mbuf, u16) -> usize) -> usize {
        let old = self.packets.len();
        let room = self.capacity - old as u16;
        // SAFETY: the vector was made with this capacity and push() stays below it; by the caller's promise `fill`
        // initialises what is added. Packet is a transparent pointer to an mbuf.
        unsafe {
            let count = fill(self.packets.as_mut_ptr().add(old).cast(), room);
            self.packets.set_len(old + count);
            count
        }
    }

    /// Gives packets to `take(first, count)`, which says how many it took from the front; the rest moves up.
    ///
    /// # Panics
    /// If there is a heap packet: what takes packets frees them into a pool, and that has none.
    ///
    /// # Safety
    /// `take` becomes the owner of as many as it says, and of no others.
    #[inline(always)]
    pub(crate) unsafe fn take(&mut self, take: impl FnOnce(*mut *mut ffi::rte_mbuf, u16) -> usize) -> usize {
        if heap::in_use() {
            assert!(!self.packets.iter().any(Packet::is_heap), "a port or ring does not take a heap packet");
        }
        let count = self.packets.len();
        // SAFETY: the first `taken` belong to somebody else now; moving the others over them and shortening the vector
        // forgets them without dropping.
        unsafe {
            let first = self.packets.as_mut_ptr();
            let taken = take(first.cast(), count as u16);
            if taken != 0 {
                self.packets.set_len(0);
                first.copy_from(first.add(taken), count - taken);
                self.packets.set_len(count - taken);
            }
            taken
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lost;

    #[test]
    fn it_holds_as_many_as_it_was_made_for_and_gives_the_next_one_back() {
        let mut burst = Burst::new(2);
        assert!(burst.push(Packet::from_bytes(b"1")).is_ok());
        assert!(burst.push(Packet::from_bytes(b"2")).is_ok());
        let back = burst.push(Packet::from_bytes(b"3")).unwrap_err();
        assert_eq!((back.bytes(), burst.len(), burst.capacity()), (&b"3"[..], 2, 2));
        back.free();
        let last = burst.pop().unwrap();
        assert_eq!(last.bytes(), b"2");
        last.free();
        burst.drain().for_each(Packet::free);
        assert!(burst.is_empty());
        assert_eq!(lost(), 0);
    }

    fn numbered(count: u8) -> Burst {
        let mut burst = Burst::new(8);
        (0..count).for_each(|number| burst.push(Packet::from_bytes(&[number])).unwrap());
        burst
    }

    fn numbers(burst: &Burst) -> Vec<u8> {
        burst.as_slice().iter().map(|packet| packet.bytes()[0]).collect()
    }

    #[test]
    fn some_are_taken_out_and_the_others_move_up_with_the_values_beside() {
        // Places beyond the values or the packets, and such that do not ascend, are nobody's.
        for (places, left) in [
            (&[][..], &[0, 1, 2, 3, 4, 5][..]),
            (&[0], &[1, 2, 3, 4, 5]),
            (&[4], &[0, 1, 2, 3, 5]),
            (&[1, 2, 4], &[0, 3, 5]),
            (&[0, 1, 2, 3, 4], &[5]),
            (&[3, 3, 1, 5, 6, u16::MAX], &[0, 1, 2, 4, 5]),
        ] {
            let (mut burst, mut beside, mut taken) = (numbered(6), [10, 11, 12, 13, 14], Vec::new());
            burst.take_out(places, &mut beside, |place, packet, value| {
                assert_eq!((packet.bytes(), value), (&[place as u8][..], 10 + place));
                taken.push(place as u8);
                packet.free();
            });
            assert_eq!(numbers(&burst), left, "without those at {places:?}");
            let values: Vec<_> = left[..left.len() - 1].iter().map(|number| 10 + *number as usize).collect();
            assert_eq!(beside[..values.len()], values);
            assert_eq!(taken, (0..6).filter(|number| !left.contains(number)).collect::<Vec<_>>());
            burst.clear_freeing();
        }
        assert_eq!(lost(), 0);
    }

    #[test]
    fn all_are_taken_that_have_a_value_beside_them() {
        let (mut burst, mut taken) = (numbered(4), Vec::new());
        burst.take_all(&['a', 'b', 'c'], |packet, value| {
            taken.push((packet.bytes()[0], value));
            packet.free();
        });
        assert_eq!((numbers(&burst), taken), (vec![3], vec![(0, 'a'), (1, 'b'), (2, 'c')]));
        burst.take_all(&[7, 8], |packet, _| packet.free());
        assert!(burst.is_empty());
        assert_eq!(lost(), 0);
    }

    #[test]
    fn what_is_left_in_it_at_its_end_is_lost_unless_it_is_freed() {
        let mut burst = Burst::new(4);
        burst.push(Packet::from_bytes(b"1")).unwrap();
        burst.clear_freeing();
        assert_eq!(lost(), 0);
        burst.push(Packet::from_bytes(b"2")).unwrap();
        drop(burst);
        assert_eq!(lost(), 1);
    }
}
