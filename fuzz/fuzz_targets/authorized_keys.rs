#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| feramiko::fuzz::authorized_keys(data));
