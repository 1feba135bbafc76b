//! A target under libFuzzer: the one that `FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use skiff_fuzz::{Counting, Target, limits, mutate_in_place, targets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let all = || targets::ALL.iter();
    let names: Vec<&str> = all().map(|target| target.name).collect();
    all()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is none of {}", names.join(" ")))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    limits::obeyed(&TARGET, data);
});
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_in_place(&TARGET, data, size, max_size, seed)
});
