//! How much of the past is kept, in memory and in the log, and the decisions that follow from it. No I/O here.
//!
//! Invariant: history is dropped oldest first, whatever its resource, and never because of age while it is younger than `age`.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/etcd3/compact.go` (five minutes) and `storage/cacher/watch_cache.go` (capacity).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How much of the past a store keeps. Both bounds hold at once.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Events older than this are dropped, in memory and from the log.
    pub age: Duration,
    /// Events kept in memory, of all resources together.
    pub events: usize,
    /// Bytes that events keep in memory beyond the present objects (superseded versions, bookkeeping); a quarter of the present
    /// objects' bytes if that is more.
    pub bytes: usize,
    /// Bytes of log beyond which it is folded into the objects when the store is idle.
    pub log_bytes: usize,
    /// Bytes of log beyond which it is folded although writes are waiting.
    pub log_bytes_busy: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(300),
            events: 100_000,
            bytes: 32 << 20,
            log_bytes: 48 << 20,
            log_bytes_busy: 128 << 20,
        }
    }
}

/// Bytes of log that one compaction takes at most: writes wait for it.
const SLICE: usize = 2 << 20;
/// Bookkeeping of an event: itself, the ring's and the history's entries.
const EVENT: usize = 300;

/// Something kept since a moment, for its size.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub what: T,
    pub bytes: usize,
    pub since: Instant,
}

/// A queue of kept things, oldest first, and their size.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    kept: VecDeque<Kept<T>>,
    bytes: usize,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Ledger<T> {
    pub fn push(&mut self, what: T, bytes: usize, since: Instant) {
        self.bytes += bytes;
        self.kept.push_back(Kept { what, bytes, since });
    }

    pub fn pop(&mut self) -> Option<T> {
        let oldest = self.kept.pop_front()?;
        self.bytes -= oldest.bytes;
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        Some(oldest.what)
    }

    pub fn front(&self) -> Option<&T> {
        self.kept.front().map(|oldest| &oldest.what)
    }

    /// When the oldest was kept.
    pub fn oldest(&self) -> Option<Instant> {
        self.kept.front().map(|oldest| oldest.since)
    }
}

/// Bytes that an event keeps from being given back, `superseded` being the length of the version before it.
pub(crate) fn event_cost(superseded: Option<usize>) -> usize {
    EVENT + superseded.map_or(0, |bytes| bytes + EVENT)
}

/// Whether the oldest event is to be dropped from memory, when the present objects take `live` bytes.
pub(crate) fn drop_oldest<T>(
    events: &Ledger<T>,
    history: &History,
    live: usize,
    now: Instant,
) -> bool {
    let expired = events
        .oldest()
        .is_some_and(|since| now.saturating_duration_since(since) > history.age);
    expired || events.kept.len() > history.events || events.bytes > history.bytes.max(live / 4)
}

/// The last revision of the part of the log that is to be folded next, if any is. `log` holds each batch's last revision.
pub(crate) fn fold_through(
    log: &Ledger<u64>,
    history: &History,
    idle: bool,
    now: Instant,
) -> Option<u64> {
    let limit = if idle {
        history.log_bytes
    } else {
        history.log_bytes_busy
    };
    // Twice the age: then there is something worth a transaction.
    let stale = idle
        && log
            .oldest()
            .is_some_and(|since| now.saturating_duration_since(since) > history.age * 2);
    if log.bytes <= limit && !stale {
        return None;
    }
    let (mut taken, mut through) = (0, None);
    for batch in &log.kept {
        let wanted = log.bytes - taken > limit
            || (stale && now.saturating_duration_since(batch.since) > history.age);
        if !wanted || (through.is_some() && taken + batch.bytes > SLICE) {
            break;
        }
        taken += batch.bytes;
        through = Some(batch.what);
    }
    through
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: History = History {
        age: Duration::from_secs(10),
        events: 3,
        bytes: 1000,
        log_bytes: 4 << 20,
        log_bytes_busy: 8 << 20,
    };

    /// What, bytes, second.
    type Entries<'a> = &'a [(u64, usize, u64)];

    fn ledger(entries: Entries<'_>, start: Instant) -> Ledger<u64> {
        let mut ledger = Ledger::default();
        for (what, bytes, second) in entries {
            ledger.push(*what, *bytes, start + Duration::from_secs(*second));
        }
        ledger
    }

    #[test]
    fn history_in_memory_is_bounded() {
        let start = Instant::now();
        let table: [(Entries<'_>, usize, u64, bool); 8] = [
            (&[], 0, 100, false),
            (&[(1, 10, 0)], 0, 10, false),
            (&[(1, 10, 0)], 0, 11, true),
            (&[(1, 1, 0), (2, 1, 0), (3, 1, 0)], 0, 0, false),
            (&[(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0)], 0, 0, true),
            (&[(1, 600, 0), (2, 400, 0)], 0, 0, false),
            (&[(1, 600, 0), (2, 401, 0)], 0, 0, true),
            (&[(1, 600, 0), (2, 401, 0)], 8000, 0, false),
        ];
        for (entries, live, second, expected) in table {
            assert_eq!(
                drop_oldest(
                    &ledger(entries, start),
                    &KEEP,
                    live,
                    start + Duration::from_secs(second)
                ),
                expected,
                "{entries:?}"
            );
        }
    }

    #[test]
    fn the_log_is_folded_in_slices() {
        const MB: usize = 1 << 20;
        let start = Instant::now();
        let table: [(Entries<'_>, bool, u64, Option<u64>); 9] = [
            (&[], true, 100, None),
            (&[(1, MB, 0)], true, 0, None),
            // Old, but not old enough to be worth it; then old enough, and what is young stays.
            (&[(1, MB, 0), (2, MB, 5)], true, 20, None),
            (&[(1, MB, 0), (2, MB, 5), (3, MB, 15)], true, 21, Some(2)),
            (&[(1, MB, 0)], false, 100, None),
            // Too long: only as much as is too much, and at most a slice.
            (&[(1, MB, 0), (2, 4 * MB, 0)], true, 0, Some(1)),
            (
                &[(1, MB, 0), (2, MB, 0), (3, MB, 0), (4, 4 * MB, 0)],
                true,
                0,
                Some(2),
            ),
            // A single batch above a slice goes as a whole.
            (&[(1, 9 * MB, 0), (2, MB, 0)], true, 0, Some(1)),
            (&[(1, 5 * MB, 0), (2, MB, 0)], false, 0, None),
        ];
        for (entries, idle, second, expected) in table {
            assert_eq!(
                fold_through(
                    &ledger(entries, start),
                    &KEEP,
                    idle,
                    start + Duration::from_secs(second)
                ),
                expected,
                "{entries:?} {idle}"
            );
        }
    }

    #[test]
    fn a_ledger_adds_up() {
        let mut ledger = ledger(&[(1, 10, 0), (2, 20, 1)], Instant::now());
        assert_eq!(
            (
                ledger.bytes,
                ledger.pop(),
                ledger.bytes,
                ledger.pop(),
                ledger.bytes,
                ledger.pop()
            ),
            (30, Some(1), 20, Some(2), 0, None)
        );
    }
}
