//! What became of a packet at the end of its way.

/// What became of a packet at the end of its way through the graph; each is counted under its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Nobody asked for it.
    NoSink,
    /// One of those that sampling leaves out.
    SampledOut,
    /// The operator wants such packets dropped.
    ActionDrop,
    /// Its source has had its share.
    RefusedSource,
    /// Its ingress interface has had its share.
    RefusedInterface,
    /// Over the reason's limit.
    RefusedReason,
    /// Over the limit of the class.
    RefusedClass,
    /// Offered to every sink that wants it.
    Accepted,
}

impl Fate {
    /// Whether a limit refused it.
    pub const fn is_refused(self) -> bool {
        matches!(
            self,
            Fate::RefusedSource | Fate::RefusedInterface | Fate::RefusedReason | Fate::RefusedClass
        )
    }
}

/// How many fates there are.
pub const FATES: usize = 8;

impl Fate {
    /// All of them, in the order of their numbers.
    const ALL: [Fate; FATES] = [
        Fate::NoSink,
        Fate::SampledOut,
        Fate::ActionDrop,
        Fate::RefusedSource,
        Fate::RefusedInterface,
        Fate::RefusedReason,
        Fate::RefusedClass,
        Fate::Accepted,
    ];
}

/// How many packets met each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates([u32; FATES]);

impl Fates {
    /// So many packets met that fate.
    #[inline(always)]
    pub fn add(&mut self, fate: Fate, packets: usize) {
        self.0[fate as usize] += packets as u32;
    }

    /// Those that were met, and by how many packets.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = (Fate, u64)> {
        Fate::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, packets)| *packets > 0)
            .map(|(fate, n)| (fate, n.into()))
    }
}
