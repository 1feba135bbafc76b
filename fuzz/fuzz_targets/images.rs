#![no_main]

skiff_fuzz::fuzz_main!(skiff_fuzz::targets::IMAGES);
