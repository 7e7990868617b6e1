//! Runs `holdfast_tests::fuzzing::archive` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_tests::fuzzing::archive(data));
