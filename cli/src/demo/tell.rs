//! Who tells of the day while it goes on, in a thread of their own: drawn in the terminal, or in lines where there is none.
//!
//! Invariant: the terminal is given back as it was, whichever way the day ends; whoever reads slowly keeps nobody else waiting.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    chronicle::{Chronicle, Count},
    day::Day,
    measure::{Ledger, Second},
    view::{Frame, Paint, clock, draw, number, room},
    watch::Sight,
    words::Words,
};
use crate::remote::terminal;

const DRAW: Duration = Duration::from_millis(250);
/// A terminal that does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// Columns and lines of the terminal, each time anew, as it may be made larger.
fn size() -> (usize, usize) {
    let known = terminal::size().filter(|(_, rows)| *rows > 0);
    known.map_or(USUAL, |(columns, rows)| (columns.into(), rows.into()))
}

/// Writes into the terminal. One that is gone does not keep the day from being cleared away.
fn write(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// A line about how it goes, beside what is printed; the same holds for it.
pub fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The terminal's other screen, for as long as this is there.
struct Screen;

impl Screen {
    fn take() -> Screen {
        write(b"\x1b[?1049h\x1b[?25l");
        Screen
    }

    fn show(&self, lines: &[String]) {
        let mut text = String::from("\x1b[H");
        for line in lines {
            text += line;
            text += "\x1b[K\r\n";
        }
        text += "\x1b[J";
        write(text.as_bytes());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(b"\x1b[?25h\x1b[?1049l");
    }
}

/// Whether the day can be drawn.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Tells of the day until `stop`, in a thread of its own: whoever reads slowly keeps nobody else waiting.
pub async fn show(
    drawn: bool,
    day: Day,
    chronicle: Arc<Chronicle>,
    sight: watch::Receiver<Sight>,
    stop: &CancellationToken,
) {
    tokio::select! {
        () = chronicle.wait_until_open() => {}
        () = stop.cancelled() => return,
    }
    let (goes_on, over) = mpsc::channel();
    let teller = Teller {
        day,
        chronicle,
        sight,
        over,
    };
    let telling = tokio::task::spawn_blocking(move || match drawn {
        true => teller.draw(),
        false => teller.tell(&mut |line| progress(line)),
    });
    stop.cancelled().await;
    drop(goes_on);
    if let Err(error) = telling.await {
        tracing::error!(%error, "the day was not told to its end");
    }
}

/// Who tells of the day.
struct Teller {
    day: Day,
    chronicle: Arc<Chronicle>,
    sight: watch::Receiver<Sight>,
    /// Nothing comes by it; it closes when the day is over.
    over: mpsc::Receiver<()>,
}

/// How many tills were ready at the end of each of these seconds.
fn tills(counts: &[Count], seconds: std::ops::RangeInclusive<usize>) -> Vec<f64> {
    let at = |second: usize| {
        let time = Duration::from_secs(second as u64);
        let known = counts.partition_point(|count| count.at <= time);
        let last = known.checked_sub(1).and_then(|place| counts.get(place));
        last.map_or(0.0, |count| count.ready as f64)
    };
    seconds.map(at).collect()
}

impl Teller {
    /// Whether the day is over, after so long at most.
    fn is_over(&self, after: Duration) -> bool {
        self.over.recv_timeout(after) != Err(mpsc::RecvTimeoutError::Timeout)
    }

    fn draw(&self) {
        let screen = Screen::take();
        let colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        loop {
            screen.show(&self.drawing(size(), Paint(colours)));
            if self.is_over(DRAW) {
                return;
            }
        }
    }

    fn drawing(&self, size: (usize, usize), paint: Paint) -> Vec<String> {
        let chronicle = &self.chronicle;
        let now = chronicle.now();
        let over = now.as_secs() as usize;
        let room = room(size.0);
        // nobody notes a request meanwhile: only what is shown is looked at
        let (requests, p99, sum) = chronicle.with_ledger(|ledger| {
            let seconds = &ledger.seconds[..over.min(ledger.seconds.len())];
            let seconds = &seconds[seconds.len().saturating_sub(room)..];
            let requests: Vec<f64> = seconds.iter().map(|s| s.requests() as f64).collect();
            let p99 = seconds.iter().map(|s| s.latencies.quantile(0.99));
            let p99: Vec<f64> = p99.map(|value| value.unwrap_or(0.0)).collect();
            (requests, p99, ledger.whole.clone())
        });
        let first = (over + 1).saturating_sub(room);
        let seen = self.sight.borrow().clone();
        let frame = Frame {
            now,
            day: &self.day,
            requests,
            p99,
            tills: tills(&chronicle.counts(), first..=over),
            sum,
            sight: &seen,
            entries: &chronicle.last_entries(size.1),
            words: &chronicle.words,
        };
        draw(&frame, size, paint)
    }

    /// A line for each second, and one for all that happened in it; at the end what happened in a second that was not whole.
    fn tell(&self, put: &mut dyn FnMut(&str)) {
        let mut told = 0;
        let mut happened = |put: &mut dyn FnMut(&str)| {
            for entry in self.chronicle.entries_from(told) {
                put(&format!("{:>5}  {}", clock(entry.at), entry.text));
                told += 1;
            }
        };
        for second in 1.. {
            let due = self.chronicle.instant(Duration::from_secs(second));
            if self.is_over(due.saturating_duration_since(Instant::now())) {
                break;
            }
            happened(put);
            let (seen, place) = (self.sight.borrow().clone(), second as usize - 1);
            let words = &self.chronicle.words;
            let told = |ledger: &Ledger| line(place, ledger, &seen, words);
            put(&self.chronicle.with_ledger(told));
        }
        happened(put);
    }
}

fn line(place: usize, ledger: &Ledger, sight: &Sight, words: &Words) -> String {
    let none = Second::default();
    let second = ledger.seconds.get(place).unwrap_or(&none);
    let quantile = |share| number(words, second.latencies.quantile(share));
    let whole = &ledger.whole;
    let at = format!("{:>5}", clock(Duration::from_secs(place as u64 + 1)));
    words.say(
        "second",
        &[
            &at,
            &second.requests(),
            &quantile(0.5),
            &quantile(0.99),
            &sight.ready(),
            &sight.wanted,
            &whole.failed,
            &whole.failed_by_cut,
            &sight.thief.successes,
            &sight.thief.attempts,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::measure::Ended;

    /// Of a day that began so long ago.
    fn teller() -> (Teller, mpsc::Sender<()>) {
        let chronicle = Arc::new(Chronicle::new(Words::of("en").unwrap()));
        chronicle.open();
        let (goes_on, over) = mpsc::channel();
        let teller = Teller {
            day: Day {
                length: Duration::from_secs(60),
                peak: 100.0,
            },
            chronicle,
            sight: watch::channel(Sight::default()).1,
            over,
        };
        (teller, goes_on)
    }

    #[test]
    fn what_happened_last_is_told_too() {
        let (teller, goes_on) = teller();
        let ended = Ended::Answered(Duration::from_millis(2));
        teller.chronicle.note(ended, None);
        teller.chronicle.say("kill", &[&"a"]);
        let mut told = Vec::new();
        let chronicle = teller.chronicle.clone();
        let mut goes_on = Some(goes_on);
        teller.tell(&mut |line| {
            told.push(line.to_owned());
            // the first second has been told
            if line.contains("1/s") {
                chronicle.say("delete", &[&"b"]);
                goes_on.take();
            }
        });
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("a: its process is killed"), "{told:?}");
        assert!(told[2].ends_with("b: deleted"), "{told:?}");
    }

    #[test]
    fn only_what_is_over_is_drawn() {
        let (teller, _goes_on) = teller();
        teller.chronicle.count(4, 4);
        let ended = Ended::Answered(Duration::from_millis(2));
        teller.chronicle.note(ended, None);
        let lines = teller.drawing((72, 24), Paint(false));
        let plot = |label: &str| lines.iter().find(|line| line.starts_with(label)).unwrap();
        assert_eq!(plot("requests/s").trim_end(), "requests/s", "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("1 requests")),
            "{lines:?}"
        );
    }

    #[test]
    fn tills_of_each_second() {
        let counts = [(0, 2), (3, 3), (3, 4), (5, 6)].map(|(at, ready)| Count {
            at: Duration::from_secs(at),
            ready,
            wanted: 0,
        });
        assert_eq!(tills(&counts, 0..=5), [2.0, 2.0, 2.0, 4.0, 4.0, 6.0]);
        assert_eq!(tills(&counts, 4..=4), [4.0]);
        assert_eq!(tills(&[], 0..=1), [0.0, 0.0]);
    }
}
