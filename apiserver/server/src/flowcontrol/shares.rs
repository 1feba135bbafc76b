//! How the server's seats are shared out among levels, and how those that need less lend to those that need more.
//!
//! Follows `finishQueueSetReconfigsLocked` and `updateBorrowingLocked` of `pkg/util/flowcontrol/apf_controller.go`, and `conc_alloc.go` beside it.

use super::demand::Seen;

/// What a level's configuration says of its seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    pub shares: u32,
    pub lendable_percent: u32,
    /// `None`: as much as there is.
    pub borrowing_percent: Option<u32>,
    pub exempt: bool,
}

/// The seats that a level has by its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub nominal: usize,
    pub least: usize,
    pub most: usize,
}

/// What a level of these bounds has now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub target: f64,
    pub seats: usize,
}

/// The bounds of a level where the wishes of all have so many shares together, of `seats` seats.
pub fn bounds(wish: &Wish, all_shares: u64, seats: usize) -> Bounds {
    let nominal = match all_shares {
        0 => 0,
        all => (seats as u64 * u64::from(wish.shares)).div_ceil(all) as usize,
    };
    let percent = |percent: u32| (nominal as f64 * f64::from(percent) / 100.0).round() as usize;
    Bounds {
        nominal,
        least: nominal - percent(wish.lendable_percent).min(nominal),
        most: nominal + wish.borrowing_percent.map_or(seats, percent),
    }
}

/// Where a level begins of which nothing is known.
pub fn begin(bounds: &Bounds) -> usize {
    bounds.nominal - (bounds.nominal - bounds.least) / 2
}

/// What each level has from now on, in their order, and the fair fraction: how much of what it needs each has that is at none of its bounds.
pub fn adjust(levels: &[(Wish, Bounds, Seen)]) -> (Vec<Share>, f64) {
    let needed = |(wish, bounds, seen): &(Wish, Bounds, Seen)| match wish.exempt {
        true => seen.most.max(bounds.least),
        false => seen.most.min(bounds.nominal).max(bounds.least),
    };
    let all: usize = levels.iter().map(|(_, bounds, _)| bounds.nominal).sum();
    let limited = || levels.iter().filter(|(wish, ..)| !wish.exempt);
    let taken: usize = levels
        .iter()
        .filter(|(wish, ..)| wish.exempt)
        .map(needed)
        .sum();
    let rest = all.saturating_sub(taken);
    let least: usize = limited().map(|(_, bounds, _)| bounds.least).sum();
    let least_needed: usize = limited().map(needed).sum();
    let claims: Vec<Claim> = limited()
        .map(|level| {
            let needed = needed(level) as f64;
            Claim {
                target: level.2.smoothed.max(needed),
                least: needed,
                most: level.1.most as f64,
            }
        })
        .collect();
    let fair = (rest > least.max(least_needed)).then(|| divide(all as f64, &claims));
    let part = match fair {
        Some(_) => 1.0,
        None if rest <= least => 0.0,
        None => (rest - least) as f64 / (least_needed - least) as f64,
    };
    let mut claimed = claims.iter();
    let shares = levels.iter().map(|level| {
        let (wish, bounds, _) = level;
        let needed = needed(level);
        let claim = claimed.as_slice().first().filter(|_| !wish.exempt);
        let target = claim.map_or(needed as f64, |claim| claim.target);
        let seats = match (claim, fair) {
            (None, _) => needed,
            (Some(claim), Some(fair)) => claim.at(fair).round() as usize,
            (Some(_), None) => {
                bounds.least + ((needed - bounds.least) as f64 * part).round() as usize
            }
        };
        if !wish.exempt {
            claimed.next();
        }
        Share { target, seats }
    });
    (shares.collect(), fair.unwrap_or(0.0))
}

/// What a level claims of the seats.
#[derive(Clone, Copy, Debug)]
struct Claim {
    target: f64,
    least: f64,
    most: f64,
}

impl Claim {
    /// What it gets where each gets this part of its target.
    fn at(&self, part: f64) -> f64 {
        const SMALLEST: f64 = 0.001;
        (self.target.max(SMALLEST) * part).clamp(self.least, self.most.max(self.least))
    }
}

/// The part of its target that each gets so that all of it is given away; what they get grows with it, so it is found by halving.
fn divide(seats: f64, claims: &[Claim]) -> f64 {
    let given = |part: f64| claims.iter().map(|claim| claim.at(part)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while given(high) < seats && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        match given(middle) < seats {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(shares: u32, lendable_percent: u32) -> Wish {
        Wish {
            shares,
            lendable_percent,
            borrowing_percent: None,
            exempt: false,
        }
    }

    #[test]
    fn seats_by_shares() {
        for (shares, lendable, borrowing, nominal, least, most) in [
            (30, 33, None, 74, 50, 674),
            (40, 25, None, 98, 73, 698),
            (10, 0, None, 25, 25, 625),
            (40, 50, Some(10), 98, 49, 108),
            (100, 90, None, 245, 24, 845),
            (5, 0, None, 13, 13, 613),
            (0, 0, Some(0), 0, 0, 0),
        ] {
            let wish = Wish {
                borrowing_percent: borrowing,
                ..limited(shares, lendable)
            };
            let found = bounds(&wish, 245, 600);
            let want = Bounds {
                nominal,
                least,
                most,
            };
            assert_eq!(found, want, "{wish:?}");
        }
        assert_eq!(bounds(&limited(5, 0), 0, 600).nominal, 0);
    }

    #[test]
    fn who_needs_more_borrows() {
        let level = |nominal: usize, lendable: u32, most: usize, smoothed: f64| {
            let wish = limited(1, lendable);
            let least = nominal - nominal * lendable as usize / 100;
            let bounds = Bounds {
                nominal,
                least,
                most: nominal + 100,
            };
            let seen = Seen {
                most,
                smoothed,
                ..Seen::default()
            };
            (wish, bounds, seen)
        };
        let seats = |levels: &[(Wish, Bounds, Seen)]| -> Vec<usize> {
            adjust(levels).0.iter().map(|share| share.seats).collect()
        };
        // nobody needs anything: by what each must have
        assert_eq!(
            seats(&[level(50, 0, 0, 0.0), level(50, 0, 0, 0.0)]),
            [50, 50]
        );
        // one lends what it does not need
        let busy = level(50, 0, 200, 200.0);
        assert_eq!(seats(&[level(50, 90, 0, 0.0), busy]), [5, 95]);
        // what it needs it has, whoever wants more
        assert_eq!(seats(&[level(50, 90, 50, 10.0), busy]), [50, 50]);
        // those that want more share what is lent
        let both = [level(50, 100, 0, 0.0), busy, level(50, 0, 200, 200.0)];
        assert_eq!(seats(&both), [0, 75, 75]);
        // what is exempt takes first
        let mut exempt = level(0, 0, 80, 80.0);
        exempt.0.exempt = true;
        let rest = [exempt, level(50, 50, 50, 50.0), level(50, 50, 50, 50.0)];
        assert_eq!(seats(&rest), [80, 25, 25]);
        exempt.2.most = 25;
        let rest = [exempt, level(50, 50, 50, 50.0), level(50, 50, 50, 50.0)];
        assert_eq!(seats(&rest), [25, 38, 38]);
    }
}
