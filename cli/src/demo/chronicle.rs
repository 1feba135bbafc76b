//! What happened when: shared by all who play a part in the day, and read by those who tell of it.
//!
//! Invariant: times are since the opening; what was written is not changed, and is one line that commands no terminal.

use std::{
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    measure::{Ended, Ledger},
    words::Words,
};
use crate::print::table::escape_terminal;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Duration,
    pub text: String,
    /// It is one of the day's acts, which plots mark by this short word.
    pub mark: Option<String>,
}

/// How many tills there were from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub at: Duration,
    pub ready: usize,
    pub wanted: i32,
}

/// See the module.
pub struct Chronicle {
    begun: Mutex<Instant>,
    open: watch::Sender<bool>,
    pub words: Words,
    ledger: Mutex<Ledger>,
    entries: Mutex<Vec<Entry>>,
    counts: Mutex<Vec<Count>>,
}

/// What a mutex holds, also when somebody panicked with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first line of a text, as a terminal may show it: others than this program write messages of events.
fn tame(text: &str) -> String {
    let first = escape_terminal(text.lines().next().unwrap_or_default());
    first.replace(char::is_control, " ")
}

impl Chronicle {
    pub fn new(words: Words) -> Chronicle {
        Chronicle {
            begun: Mutex::new(Instant::now()),
            open: watch::Sender::new(false),
            words,
            ledger: Mutex::default(),
            entries: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// The day begins now.
    pub fn open(&self) {
        *lock(&self.begun) = Instant::now();
        lock(&self.entries).clear();
        let counts = &mut *lock(&self.counts);
        if let Some(last) = counts.pop() {
            *counts = vec![Count {
                at: Duration::ZERO,
                ..last
            }];
        }
        self.open.send_replace(true);
    }

    /// Waits until the day has begun.
    pub async fn wait_until_open(&self) {
        // the sender lives in `self`
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    pub fn now(&self) -> Duration {
        lock(&self.begun).elapsed()
    }

    /// When the clock of the machine shows this time of the day.
    pub fn instant(&self, at: Duration) -> Instant {
        *lock(&self.begun) + at
    }

    /// Something happened by itself.
    pub fn say(&self, word: &str, with: &[&dyn Display]) {
        self.write(self.words.say(word, with), None);
    }

    /// An act, marked by a short word of its own.
    pub fn act(&self, mark: &str, text: String) {
        self.write(text, Some(self.words.word(mark)));
    }

    fn write(&self, text: String, mark: Option<String>) {
        let (at, text) = (self.now(), tame(&text));
        lock(&self.entries).push(Entry { at, text, mark });
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries_from(0)
    }

    /// Those after so many.
    pub fn entries_from(&self, place: usize) -> Vec<Entry> {
        let entries = lock(&self.entries);
        entries.get(place..).unwrap_or_default().to_vec()
    }

    /// So many of the last.
    pub fn last_entries(&self, count: usize) -> Vec<Entry> {
        let entries = lock(&self.entries);
        entries[entries.len().saturating_sub(count)..].to_vec()
    }

    /// So many tills there are now.
    pub fn count(&self, ready: usize, wanted: i32) {
        let at = self.now();
        let counts = &mut *lock(&self.counts);
        if counts
            .last()
            .is_none_or(|last| (last.ready, last.wanted) != (ready, wanted))
        {
            counts.push(Count { at, ready, wanted });
        }
    }

    pub fn counts(&self) -> Vec<Count> {
        lock(&self.counts).clone()
    }

    /// A request ended; `version`: of the till that answered it.
    pub fn note(&self, ended: Ended, version: Option<String>) {
        let at = self.now();
        let ledger = &mut *lock(&self.ledger);
        if let Some(version) = version {
            *ledger.versions.entry(version).or_default() += 1;
        }
        ledger.note(at, ended);
    }

    pub fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }

    /// Looks at the ledger without copying it.
    pub fn with_ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&lock(&self.ledger))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_commands_no_terminal() {
        let chronicle = Chronicle::new(Words::of("en").unwrap());
        let message = "\x1b[2Jgone\r\u{9b}1m\u{7}\nand more";
        chronicle.say("warning", &[&"a", &"Failed", &message]);
        assert_eq!(chronicle.entries()[0].text, "a: Failed: ^[[2Jgone\\r 1m ");
    }

    #[test]
    fn entries_are_found_from_either_end() {
        let chronicle = Chronicle::new(Words::of("en").unwrap());
        for pod in ["a", "b", "c"] {
            chronicle.say("kill", &[&pod]);
        }
        let texts = |entries: Vec<Entry>| -> Vec<String> {
            let names = entries.into_iter().map(|entry| entry.text[..1].to_owned());
            names.collect()
        };
        assert_eq!(texts(chronicle.entries()), ["a", "b", "c"]);
        assert_eq!(texts(chronicle.entries_from(2)), ["c"]);
        assert!(chronicle.entries_from(4).is_empty());
        assert_eq!(texts(chronicle.last_entries(2)), ["b", "c"]);
        assert_eq!(texts(chronicle.last_entries(9)), ["a", "b", "c"]);
    }
}
