//! See `engine::hostile::burst`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::hostile::burst(bytes));
