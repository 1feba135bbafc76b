//! How fast pods that ended badly are replaced.
//!
//! Invariant: some at once, then so many a second for each owner; what was never there is not held up. Upstream has no such limit of its own:
//! there it is the 20 requests a second that each controller may send (`--kube-api-qps`).

use std::collections::HashMap;

use jiff::Timestamp;

use parking_lot::Mutex;
use skiff_watching::{
    clock::{Clock, since},
    key::Key,
};

const AT_ONCE: f64 = 30.0;
/// A pod costs its creation, and a status when it comes and when it fails.
const PER_SECOND: f64 = 20.0 / 3.0;
/// When one more may come, if none may now.
pub const PAUSE: std::time::Duration = std::time::Duration::from_millis(150);

/// What each owner has left.
pub struct Pace {
    clock: Clock,
    left: Mutex<HashMap<Key, (f64, Timestamp)>>,
}

impl Pace {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            left: Mutex::default(),
        }
    }

    /// How many of `wanted` may be replaced now.
    pub fn take(&self, owner: &Key, wanted: usize) -> usize {
        if wanted == 0 {
            return 0;
        }
        let now = self.clock.now();
        let mut all = self.left.lock();
        let (left, at) = all.entry(owner.clone()).or_insert((AT_ONCE, now));
        *left = (*left + since(now, *at).as_secs_f64() * PER_SECOND).min(AT_ONCE);
        *at = now;
        let given = wanted.min(*left as usize);
        *left -= given as f64;
        given
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &Key) {
        self.left.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_and_then_slowly() {
        let (pace, owner) = (Pace::new(Clock::system()), Key::new("ns", "set"));
        assert_eq!(
            (
                pace.take(&owner, 20),
                pace.take(&owner, 20),
                pace.take(&owner, 20)
            ),
            (20, 10, 0)
        );
        assert_eq!(
            pace.take(&Key::new("ns", "other"), 3),
            3,
            "each owner has its own"
        );
        pace.forget(&owner);
        assert_eq!(pace.take(&owner, 1), 1);
    }
}
