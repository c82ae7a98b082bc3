//! See `engine::hostile::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| engine::hostile::configuration(text));
