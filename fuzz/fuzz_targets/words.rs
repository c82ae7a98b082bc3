//! See `punt::hostile::word`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| punt::hostile::word(text));
