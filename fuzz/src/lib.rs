//! Fuzz targets: whatever bytes come in, what reads them neither panics, nor takes long, nor takes more memory than they are worth.
//!
//! A target is a function of bytes in a file of `targets/`, with what it begins with and how its bytes are changed. Two things run it: `cargo test`,
//! for a moment and with a fixed seed ([`short`]), and libFuzzer, for as long as one likes (`fuzz_targets/any.rs`). README.md says how.
//!
//! Invariant: a target needs nothing but its bytes, and the same bytes do the same.

pub mod limits;
mod mutate;
mod random;
mod seeds;
pub mod short;
pub mod targets;

pub use limits::Counting;
pub use mutate::mutate;
pub use random::Random;

/// How the bytes of a target are made of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Texts, JSON most of them, with zero bytes between them: see [`parts`].
    Texts,
    Bytes,
}

/// What is tried.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// What it begins with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub form: Form,
    /// What means something to it.
    pub words: &'static [&'static str],
    /// Bytes of memory that one byte may be worth.
    pub worth: usize,
    /// Those that any input may take.
    pub always: usize,
}

impl Target {
    pub const fn new(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
        Target {
            name,
            run,
            seeds,
            form: Form::Texts,
            words: &[],
            worth: 256,
            always: 4 << 20,
        }
    }

    pub const fn words(self, words: &'static [&'static str]) -> Target {
        Target { words, ..self }
    }

    pub const fn bytes(self) -> Target {
        Target {
            form: Form::Bytes,
            ..self
        }
    }

    pub const fn always(self, always: usize) -> Target {
        Target { always, ..self }
    }

    pub const fn worth(self, worth: usize) -> Target {
        Target { worth, ..self }
    }
}

/// The longest input, in bytes.
pub const LONGEST: usize = 64 << 10;

/// The parts of an input, which zero bytes part; those that are missing are empty.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}

/// The same as text.
pub fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let parts: [&[u8]; N] = parts(data);
    let mut texts = [""; N];
    for (text, part) in texts.iter_mut().zip(parts) {
        *text = std::str::from_utf8(part).ok()?;
    }
    Some(texts)
}

/// As libFuzzer asks for a change: of the first `size` bytes of `data`, to at most `max` bytes; answers how many it left.
#[cfg(feature = "libfuzzer")]
pub fn mutate_in_place(
    target: &Target,
    data: &mut [u8],
    size: usize,
    max: usize,
    seed: u32,
) -> usize {
    let mut random = Random::new(u64::from(seed));
    if random.below(2) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max);
    }
    let others = seeds::of(target);
    let changed = mutate(&data[..size], target, &others, &mut random);
    let length = changed.len().min(max);
    data[..length].copy_from_slice(&changed[..length]);
    length
}
