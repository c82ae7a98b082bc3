//! See `punt::hostile::line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punt::hostile::line(bytes));
