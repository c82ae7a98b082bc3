//! The mbuf's twin on the heap, so that nodes are tested on bytes without an EAL: same struct, no pool.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{mbuf::Mbuf, pool::HEADROOM};

/// Set by the first heap packet, never taken back. Until then freeing need not look for any.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Room behind the data, so that a test can append.
const TAILROOM: usize = 128;
/// Most bytes of frame in one segment: lengths in the mbuf have 16 bits.
const LONGEST: usize = 60_000;

/// Whether this process ever made a heap packet.
#[inline(always)]
pub(crate) fn in_use() -> bool {
    IN_USE.load(Relaxed)
}

/// A chain of heap mbufs with these bytes; one empty mbuf where there are none.
pub(crate) fn chain(segments: &[&[u8]]) -> NonNull<Mbuf> {
    IN_USE.store(true, Relaxed);
    let mut first = new(&[]);
    let (mut last, mut count) = (None::<NonNull<Mbuf>>, 0);
    let mut total = 0;
    for bytes in segments.iter().flat_map(|segment| pieces(segment)) {
        let mut segment = new(bytes);
        count += 1;
        total += bytes.len();
        match &mut last {
            // SAFETY: made here, nobody else knows it.
            Some(last) => unsafe { last.as_mut().next = Some(segment) },
            None => {
                // SAFETY: the placeholder is a heap mbuf that nothing refers to any more.
                unsafe { free(std::mem::replace(&mut first, segment)) };
                segment = first;
            }
        }
        last = Some(segment);
    }
    // SAFETY: made here, nobody else knows it.
    let head = unsafe { first.as_mut() };
    head.pkt_len = u32::try_from(total).expect("a frame is shorter than 4 GiB");
    head.nb_segs = u16::try_from(count.max(1)).expect("a frame has at most 65,535 segments");
    first
}

/// Cuts what is too long for one segment; an empty segment stays one.
fn pieces(segment: &[u8]) -> Vec<&[u8]> {
    if segment.is_empty() { vec![segment] } else { segment.chunks(LONGEST).collect() }
}

/// One heap mbuf: the struct, headroom, data, tailroom, in one allocation.
fn new(bytes: &[u8]) -> NonNull<Mbuf> {
    let buffer = usize::from(HEADROOM) + bytes.len() + TAILROOM;
    let layout = layout(buffer);
    // SAFETY: the layout is not of size 0.
    let Some(mbuf) = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<Mbuf>()) else {
        handle_alloc_error(layout)
    };
    // SAFETY: the allocation is an Mbuf, for which zero is a value in every field but the first, which is set before anybody looks, followed by
    // the buffer.
    unsafe {
        let buf_addr = mbuf.add(1).cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), buf_addr.add(HEADROOM.into()).as_ptr(), bytes.len());
        (&raw mut (*mbuf.as_ptr()).buf_addr).write(buf_addr);
        let fields = &mut *mbuf.as_ptr();
        fields.buf_len = buffer as u16;
        fields.data_off = HEADROOM;
        fields.data_len = bytes.len() as u16;
        fields.pkt_len = bytes.len() as u32;
        fields.refcnt = 1;
        fields.nb_segs = 1;
        fields.port = u16::MAX;
    }
    mbuf
}

/// Frees a chain of heap mbufs.
///
/// # Safety
/// Made by [`chain`], and nobody else uses it.
#[cold]
pub(crate) unsafe fn free(first: NonNull<Mbuf>) {
    let mut next = Some(first);
    while let Some(mbuf) = next {
        // SAFETY: by the caller's promise it is ours; the link is read before it goes.
        unsafe {
            next = mbuf.as_ref().next;
            let layout = layout(mbuf.as_ref().buf_len.into());
            dealloc(mbuf.as_ptr().cast(), layout);
        }
    }
}

fn layout(buffer: usize) -> Layout {
    Layout::from_size_align(size_of::<Mbuf>() + buffer, align_of::<Mbuf>()).expect("buffers are below 64 KiB")
}
