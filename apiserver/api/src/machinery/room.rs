//! How much is told of what is wrong with an input: each mistake is told with its path, and many mistakes under one long name would take the square
//! of what they came in.
//!
//! Invariant: what is told takes no more than a fixed room beside one longest path. Upstream bounds the number instead, and of strict mistakes alone.

/// Bytes that are left for paths.
#[derive(Debug, Clone, Copy)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Room {
        Room(1 << 20)
    }
}

impl Room {
    /// Something may be told still.
    pub fn is_left(self) -> bool {
        self.0 > 0
    }

    /// This is told.
    pub fn take(&mut self, bytes: usize) {
        // a short one takes memory, too
        self.0 = self.0.saturating_sub(bytes + 64);
    }
}
