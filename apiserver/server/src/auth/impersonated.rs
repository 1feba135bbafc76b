//! How users come to act as others, and by which way each did last.

use std::collections::HashMap;

use parking_lot::Mutex;

/// How one acts as another. All but `Legacy` want a second right: to do what the request does while acting as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A service account acts as the node that its pod runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    /// The verb `impersonate`.
    Legacy,
}

/// The mode by which each user came to be somebody else last, which is tried first: whoever uses the verb `impersonate` need not be asked about the
/// others each time. Follows `modeIndexCache` of `cache.go`.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<String, Mode>>);

impl Remembered {
    /// Of so many users; then it begins anew.
    const MOST: usize = 10_000;

    pub(super) fn of(&self, user: &str) -> Option<Mode> {
        self.0.lock().get(user).copied()
    }

    pub(super) fn note(&self, user: &str, mode: Mode) {
        let mut modes = self.0.lock();
        if modes.len() >= Self::MOST {
            modes.clear();
        }
        modes.insert(user.to_owned(), mode);
    }
}
