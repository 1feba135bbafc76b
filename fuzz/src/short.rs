//! The run of a target in `cargo test`: what it begins with as it is, then changed, by a fixed seed and for a moment.
//!
//! `FUZZ_SECONDS` is that moment, in seconds of a processor; `FUZZ_SEED` another seed; `FUZZ_KEEP=1` writes each input to
//! `target/fuzz/TARGET.input` before it is run, for what ends the whole process. An input at fault is left in `target/fuzz`; `FUZZ_INPUT` names one to run
//! alone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

use crate::{
    Random, Target,
    limits::{Cost, obeyed},
    mutate, seeds,
};

const SEED: u64 = 1;
const MOMENT: Duration = Duration::from_millis(400);
/// What tokio gives to its threads; without optimisation frames are several times as large.
const STACK: usize = if cfg!(debug_assertions) {
    8 << 20
} else {
    2 << 20
};

/// Runs a target, on a thread as those that serve requests.
///
/// # Panics
/// With the first input that it panics on, or that costs too much.
pub fn run(target: &'static Target) {
    let done = std::thread::Builder::new()
        .name(target.name.into())
        .stack_size(STACK)
        .spawn(move || Run::new(target).all())
        .unwrap()
        .join();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

struct Run {
    target: &'static Target,
    seconds: Option<f64>,
    seed: u64,
    keep: bool,
    cases: usize,
    spent: Duration,
    /// What cost the most time and the most memory.
    dearest: [(Cost, Vec<u8>); 2],
}

fn variable(name: &str) -> Option<f64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

impl Run {
    fn new(target: &'static Target) -> Run {
        Run {
            target,
            seconds: variable("FUZZ_SECONDS"),
            seed: variable("FUZZ_SEED").map_or(SEED, |seed| seed as u64),
            keep: std::env::var_os("FUZZ_KEEP").is_some(),
            cases: 0,
            spent: Duration::ZERO,
            dearest: Default::default(),
        }
    }

    fn all(&mut self) {
        let name = self.target.name;
        if let Some(path) = std::env::var_os("FUZZ_INPUT") {
            self.one(&std::fs::read(path).unwrap());
            return;
        }
        println!("{name}: FUZZ_SEED={}", self.seed);
        let given = seeds::of(self.target);
        assert!(!given.is_empty(), "{name} has nothing to begin with");
        for seed in &given {
            self.one(seed);
        }
        self.spent = Duration::ZERO;
        let most = self.seconds.map_or(MOMENT, Duration::from_secs_f64);
        let mut random = Random::new(self.seed);
        // what waits takes no processor, but time
        let (begun, patience) = (std::time::Instant::now(), most * 8);
        while self.spent < most && begun.elapsed() < patience {
            let input = match random.of(&given) {
                // in a long run that which cost much is made to cost more; it depends on the machine, so the usual run does without
                Some(_) if self.seconds.is_some() && random.one_in(4) => {
                    let dearest = &self.dearest[random.below(2)].1;
                    mutate(dearest, self.target, &given, &mut random)
                }
                Some(seed) => mutate(seed, self.target, &given, &mut random),
                None => Vec::new(),
            };
            self.one(&input);
        }
        let [(slow, _), (large, of)] = &self.dearest;
        println!(
            "{name}: {} inputs, at the most {:?} and {} bytes for {}",
            self.cases,
            slow.time,
            large.memory,
            of.len()
        );
    }

    fn one(&mut self, input: &[u8]) {
        if self.keep {
            self.leave("input", input);
        }
        match catch_unwind(AssertUnwindSafe(|| obeyed(self.target, input))) {
            Ok(cost) => self.note(cost, input),
            Err(panic) => {
                let at = self.leave("fault", input);
                eprintln!(
                    "{}: {} bytes are left in {}: {}",
                    self.target.name,
                    input.len(),
                    at.display(),
                    input[..input.len().min(400)].escape_ascii()
                );
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn note(&mut self, cost: Cost, input: &[u8]) {
        self.cases += 1;
        // an input that is cheap has been made, too
        self.spent += cost.time.max(Duration::from_micros(10));
        let [slow, large] = &mut self.dearest;
        if cost.time > slow.0.time {
            *slow = (cost, input.to_vec());
        }
        let beyond =
            |cost: &Cost, input: usize| cost.memory as i64 - (self.target.worth * input) as i64;
        if large.1.is_empty() || beyond(&cost, input.len()) > beyond(&large.0, large.1.len()) {
            *large = (cost, input.to_vec());
        }
    }

    fn leave(&self, what: &str, input: &[u8]) -> PathBuf {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fuzz"));
        let at = folder.join(format!("{}.{what}", self.target.name));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&at, input).unwrap();
        at
    }
}
