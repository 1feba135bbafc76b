//! Who is in the shop, who stands at its door, and when it may close.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long without a visitor, once it was told to leave, the shop is gone.
const QUIET: Duration = Duration::from_millis(700);
/// Node agents kill after their grace time; the shop is gone before.
const MOST: Duration = Duration::from_secs(20);

/// Who is in the shop, and whether it closes.
#[derive(Default)]
pub struct Door(Mutex<Visits>);

#[derive(Default)]
pub struct Visits {
    /// Connections that were taken and have not said yet what they want, by their number.
    at_the_door: BTreeMap<u64, Instant>,
    connections: u64,
    /// Requests that are being answered.
    inside: usize,
    pub served: u64,
    pub last: Option<Instant>,
    pub told: Option<Instant>,
}

impl Door {
    pub fn visits(&self) -> std::sync::MutexGuard<'_, Visits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_closing(&self) -> bool {
        self.visits().told.is_some()
    }

    /// Somebody knocks; answers the connection's number.
    pub fn knock(&self) -> u64 {
        let mut visits = self.visits();
        visits.connections += 1;
        let number = visits.connections;
        visits.at_the_door.insert(number, Instant::now());
        number
    }

    /// It is known what a connection wants, or that it is gone.
    pub fn heard(&self, number: u64) {
        self.visits().at_the_door.remove(&number);
    }

    /// A visitor comes, and stays until the answer is dropped.
    pub fn enter(&self) -> Visit<'_> {
        let mut visits = self.visits();
        visits.inside += 1;
        visits.served += 1;
        Visit {
            door: self,
            before: visits.served - 1,
        }
    }
}

/// One request that is being answered.
pub struct Visit<'a> {
    door: &'a Door,
    /// How many came before.
    pub before: u64,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut visits = self.door.visits();
        visits.inside -= 1;
        visits.last = Some(Instant::now());
    }
}

impl Visits {
    pub fn is_late(&self, now: Instant) -> bool {
        self.told
            .is_some_and(|told| now.saturating_duration_since(told) >= MOST)
    }

    /// Whether everybody has gone and nobody came for a while.
    pub fn is_over(&self, now: Instant) -> bool {
        let Some(told) = self.told else { return false };
        let knocked = self.at_the_door.values().max().copied();
        let last = [Some(told), self.last, knocked]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(told);
        let quiet = self.inside == 0 && now.saturating_duration_since(last) >= QUIET;
        quiet || self.is_late(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_is_over_soon_after_its_last_visitor() {
        let door = Door::default();
        let begun = Instant::now();
        assert!(!door.visits().is_over(begun + MOST), "nobody told it");
        door.visits().told = Some(begun);
        let visit = door.enter();
        assert!(
            !door.visits().is_over(begun + 5 * QUIET),
            "somebody is inside"
        );
        drop(visit);
        let last = door.visits().last.unwrap();
        assert!(!door.visits().is_over(last + QUIET / 2), "more may come");
        assert!(door.visits().is_over(last + QUIET));
        let number = door.knock();
        let knocked = door.visits().at_the_door[&number];
        assert!(
            !door.visits().is_over(knocked + QUIET / 2),
            "who knocks may be a visitor"
        );
        assert!(
            door.visits().is_over(knocked + QUIET),
            "who says nothing is none"
        );
        door.heard(number);
        assert!(door.visits().is_over(last + QUIET), "it was a probe");
        let _stays = door.enter();
        assert!(door.visits().is_over(begun + MOST));
    }
}
