//! What the day came to: the table that it ends with, and the same as JSON.
//!
//! Invariant: a figure that was not measured is absent; it is never told as a good one.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    acts::{Damage, How},
    chronicle::{Chronicle, Count},
    day::Day,
    watch::{Sight, Vault},
    words::Words,
};
use crate::cluster::shop::thief::Loot;

/// See the module. Times are in seconds, latencies in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub seconds: f64,
    pub requests: u64,
    /// Those that broke by the node that was cut off are not among them.
    pub failed: u64,
    pub failed_by_cut: u64,
    /// How often what went wrong.
    pub failures: BTreeMap<String, u64>,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    /// Answers by the version of the shop that gave them.
    pub versions: BTreeMap<String, u64>,
    /// Tills before the crowd came, and the most that there were to be.
    pub tills: (usize, usize),
    /// From when the crowd began to come to the first till that was opened for it, and to the last; a till is opened when it is wanted and ready.
    pub scale_up: Option<f64>,
    pub scale_up_whole: Option<f64>,
    /// From when the crowd had gone to when there were as many tills as in the morning.
    pub scale_down: Option<f64>,
    /// The longest that it took to have as many tills as before: of a killed or deleted one, and of a node's.
    pub heal: Option<f64>,
    pub heal_cut: Option<f64>,
    pub thief: Loot,
    pub vault: Vault,
    #[serde(flatten)]
    pub damage: Damage,
}

/// The longest of all times; nothing if one of them is not known, or there are none.
fn longest(times: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Option<Vec<f64>> = times.collect();
    known?.into_iter().reduce(f64::max)
}

impl Outcome {
    pub fn of(chronicle: &Chronicle, day: &Day, sight: &Sight, damage: Damage) -> Outcome {
        let ledger = chronicle.ledger();
        let whole = &ledger.whole;
        let scaling = Scaling::of(&chronicle.counts(), day);
        let healed = |cut: bool| {
            let wounds = damage.wounds.iter();
            let wounds = wounds.filter(|wound| (wound.how == How::Cut) == cut);
            longest(wounds.map(|wound| wound.healed))
        };
        Outcome {
            seconds: chronicle.now().as_secs_f64(),
            requests: whole.requests(),
            failed: whole.failed,
            failed_by_cut: whole.failed_by_cut,
            failures: ledger.why,
            p50: whole.latencies.quantile(0.5),
            p99: whole.latencies.quantile(0.99),
            versions: ledger.versions,
            tills: scaling.tills,
            scale_up: scaling.up,
            scale_up_whole: scaling.up_whole,
            scale_down: scaling.down,
            heal: healed(false),
            heal_cut: healed(true),
            thief: sight.thief.clone(),
            vault: sight.vault.clone(),
            damage,
        }
    }

    /// The table: what is told, and the figure.
    pub fn rows(&self, words: &Words) -> Vec<(String, String)> {
        let none = || "–".to_owned();
        let number = |value: Option<f64>, decimals: usize, unit: &str| match value {
            Some(value) => format!("{} {unit}", words.number(value, decimals)),
            None => none(),
        };
        let seconds = |value: Option<f64>| number(value, 1, "s");
        let left = longest(self.damage.left.iter().copied());
        let tills = format!("{} → {}", self.tills.0, self.tills.1);
        let rows = [
            ("row-requests", self.requests.to_string()),
            ("row-failed", self.failed.to_string()),
            ("row-failed-cut", self.failed_by_cut.to_string()),
            ("row-p50", number(self.p50, 1, "ms")),
            ("row-p99", number(self.p99, 1, "ms")),
            ("row-tills", tills),
            ("row-up", seconds(self.scale_up)),
            ("row-up-whole", seconds(self.scale_up_whole)),
            ("row-down", seconds(self.scale_down)),
            ("row-heal", seconds(self.heal)),
            ("row-left", seconds(left)),
            ("row-heal-cut", seconds(self.heal_cut)),
            ("row-update", seconds(self.damage.update)),
            ("row-thief", self.thief.attempts.to_string()),
            ("row-thief-in", self.thief.successes.to_string()),
            ("row-thief-lost", self.thief.unknown.to_string()),
            ("row-vault", self.vault.deliveries.to_string()),
        ];
        let told = rows.into_iter();
        let mut told: Vec<_> = told
            .map(|(word, figure)| (words.word(word), figure))
            .collect();
        let failures = self.failures.iter();
        told.extend(failures.map(|(why, count)| (format!("  {why}"), count.to_string())));
        told
    }

    /// The table as text.
    pub fn table(&self, words: &Words) -> String {
        let rows = self.rows(words);
        let width = |text: &String| text.chars().count();
        let first = rows.iter().map(|(what, _)| width(what)).max().unwrap_or(0);
        let second = rows.iter().map(|(_, it)| width(it)).max().unwrap_or(0);
        let line = |(what, it): &(String, String)| format!("  {what:<first$}  {it:>second$}\n");
        rows.iter().map(line).collect()
    }
}

/// When tills were opened and closed.
#[derive(Debug, Default, PartialEq)]
struct Scaling {
    tills: (usize, usize),
    up: Option<f64>,
    up_whole: Option<f64>,
    down: Option<f64>,
}

impl Scaling {
    fn of(counts: &[Count], day: &Day) -> Scaling {
        let (comes, gone) = (day.comes(), day.gone());
        let before = counts.iter().take_while(|count| count.at <= comes);
        let before = before.map(|count| count.ready).max().unwrap_or(0);
        // a rolling update has more for a while than anybody wants
        let most = counts.iter().map(|count| count.wanted as usize);
        let most = most.max().unwrap_or(0);
        let crowded = || {
            let after = counts.iter().filter(|count| count.at > comes);
            after.filter(|count| count.at < gone || count.ready > before)
        };
        let since = |at: Duration, from: Duration| at.saturating_sub(from).as_secs_f64();
        let when = |tills: usize| {
            let reached = crowded().find(|count| count.ready.min(count.wanted as usize) >= tills);
            reached
                .filter(|_| most > before)
                .map(|count| since(count.at, comes))
        };
        // the last time that there were more than in the morning
        let last = counts
            .iter()
            .rposition(|count| count.ready.max(count.wanted as usize) > before);
        let down = last.and_then(|place| counts.get(place + 1));
        Scaling {
            tills: (before, most),
            up: when(before + 1),
            up_whole: when(most),
            down: down
                .filter(|_| most > before)
                .map(|count| since(count.at, gone)),
        }
    }
}

/// Whether all that was opened for the crowd has been closed again.
pub fn is_as_in_the_morning(sight: &Sight, morning: usize) -> bool {
    sight.wanted as usize <= morning && sight.tills.len() <= morning
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::acts::Wound;

    fn day() -> Day {
        Day {
            length: Duration::from_secs(100),
            peak: 100.0,
        }
    }

    fn counts(all: &[(u64, usize, i32)]) -> Vec<Count> {
        let count = |&(at, ready, wanted)| Count {
            at: Duration::from_secs(at),
            ready,
            wanted,
        };
        all.iter().map(count).collect()
    }

    #[test]
    fn tills_open_and_close() {
        // the crowd comes at 6 and has gone at 74
        let seen = counts(&[
            (0, 2, 2),
            (12, 2, 4),
            (14, 3, 4),
            (15, 4, 4),
            (20, 6, 6),
            (40, 5, 6),
            (41, 8, 6),
            (80, 6, 3),
            (90, 3, 2),
            (92, 2, 2),
        ]);
        let scaling = Scaling {
            tills: (2, 6),
            up: Some(8.0),
            up_whole: Some(14.0),
            down: Some(18.0),
        };
        assert_eq!(Scaling::of(&seen, &day()), scaling);
        // nothing happened
        let scaling = Scaling {
            tills: (2, 2),
            ..Scaling::default()
        };
        assert_eq!(Scaling::of(&counts(&[(0, 2, 2)]), &day()), scaling);
        // a rolling update's surge is nothing that the autoscaler opened
        let seen = counts(&[(0, 2, 2), (20, 4, 2), (22, 2, 2), (30, 2, 4), (33, 4, 4)]);
        let scaling = Scaling::of(&seen, &day());
        assert_eq!((scaling.up, scaling.up_whole), (Some(27.0), Some(27.0)));
        // it did not come down
        let seen = counts(&[(0, 2, 2), (12, 3, 4)]);
        assert_eq!(Scaling::of(&seen, &day()).down, None);
    }

    #[test]
    fn a_wound_that_did_not_heal_is_not_told_as_one_that_did() {
        let words = Words::of("en").unwrap();
        let wound = |how, healed| Wound {
            how,
            at: 1.0,
            healed,
        };
        let chronicle = Chronicle::new(words.clone());
        let of = |wounds: Vec<Wound>| {
            let damage = Damage {
                wounds,
                ..Damage::default()
            };
            Outcome::of(&chronicle, &day(), &Sight::default(), damage)
        };
        let healed = of(vec![
            wound(How::Killed, Some(0.5)),
            wound(How::Deleted, Some(1.5)),
            wound(How::Cut, Some(9.0)),
        ]);
        assert_eq!((healed.heal, healed.heal_cut), (Some(1.5), Some(9.0)));
        let one_not = of(vec![
            wound(How::Killed, Some(0.5)),
            wound(How::Deleted, None),
        ]);
        assert_eq!((one_not.heal, one_not.heal_cut), (None, None));
        let left = |left: &[Option<f64>]| longest(left.iter().copied());
        assert_eq!(left(&[Some(1.0), Some(3.0), Some(2.0)]), Some(3.0));
        assert_eq!(left(&[Some(1.0), None]), None);
        assert_eq!(left(&[]), None);
        let table = one_not.table(&words);
        assert!(table.contains('–') && !table.contains("row-"), "{table}");
    }
}
