//! What expressions cost: at most, before they are evaluated, and in fact, while they are.
//!
//! Invariant: sums never wrap: what is too much stays the largest number. The units are upstream's (`vendor/github.com/google/cel-go/common/cost.go`):
//! one is a look at a field.

mod calls;
mod estimate;
pub(crate) mod runtime;

pub use estimate::estimate;

/// A range of sizes or costs, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

/// What going through a text costs, a character.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// What a pattern costs, a character.
pub(crate) const PATTERN: f64 = 0.25;
pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const STRUCT: u64 = 40;
/// What asking an authorizer costs.
pub(crate) const CHECK: u64 = 350_000;

impl Range {
    pub const UNKNOWN: Range = Range {
        min: 0,
        max: u64::MAX,
    };
    pub const ZERO: Range = Range { min: 0, max: 0 };

    pub const fn fixed(size: u64) -> Range {
        Range {
            min: size,
            max: size,
        }
    }

    #[must_use]
    pub fn plus(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    #[must_use]
    pub fn times(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    /// So many costs a unit, rounded up.
    #[must_use]
    pub fn by(self, factor: f64) -> Range {
        Range {
            min: scaled(self.min, factor),
            max: scaled(self.max, factor),
        }
    }

    #[must_use]
    pub fn or(self, other: Range) -> Range {
        Range {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// A product rounded up, the largest number where it is too large.
pub(crate) fn scaled(size: u64, factor: f64) -> u64 {
    // floats beyond the largest number become the largest number
    (size as f64 * factor).ceil() as u64
}
