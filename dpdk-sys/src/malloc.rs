//! The C library's allocator, which is Rust's, too.

/// From now on blocks of 128 KiB and more go back to the system as soon as they are freed. To be called at the start.
///
/// Else glibc raises that bound to the largest block that was ever freed, 32 MiB at most; large blocks that come and go, as sinks' rings do,
/// are then cut out of its arenas, which keep what is free between them: as much as is in use, and more.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator, under its lock. It is one that glibc takes.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}
