#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caravan_fuzz::jsonl(bytes));
