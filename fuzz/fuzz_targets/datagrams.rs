//! See `punt::hostile::datagram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punt::hostile::datagram(bytes));
