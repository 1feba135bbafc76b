//! When a collection that is never told what is over is to be looked through for that.
//!
//! Invariant: it is looked through once it has twice as many entries as were left the last time, so that each entry that comes in pays for two looks at the most,
//! however long entries last.

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    least: usize,
    most: usize,
}

impl Sweep {
    /// Fewer entries than these are never looked through.
    pub const fn new(least: usize) -> Sweep {
        Sweep { least, most: least }
    }

    /// Whether it is time, with so many entries.
    pub const fn is_due(&self, len: usize) -> bool {
        len >= self.most
    }

    /// It was looked through, and so many entries are left.
    pub fn done(&mut self, left: usize) {
        self.most = left.saturating_mul(2).max(self.least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_not_looked_at_for_each_that_comes() {
        let mut sweep = Sweep::new(4);
        let (mut entries, mut looks) = (0, 0);
        for _ in 0..10_000 {
            if sweep.is_due(entries) {
                looks += entries;
                sweep.done(entries);
            }
            entries += 1;
        }
        assert!(looks < 2 * entries, "{looks}");
        // when most are over it begins anew
        assert!(sweep.is_due(2 * entries));
        sweep.done(1);
        assert!(sweep.is_due(4) && !sweep.is_due(3));
    }
}
