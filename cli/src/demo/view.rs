//! The day in the terminal: drawn anew some times a second, or told in lines where there is no terminal.
//!
//! Invariant: the terminal is given back as it was, whichever way the day ends; a drawing is never larger than the terminal.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    chronicle::{Chronicle, Entry},
    day::Day,
    measure::{Ledger, Second},
    watch::{Sight, Till},
    words::Words,
};

const DRAW: Duration = Duration::from_millis(250);
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the words that lines begin with.
const LABEL: usize = 12;
/// A terminal that does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// All that a drawing shows.
pub struct Frame<'a> {
    pub now: Duration,
    pub day: &'a Day,
    /// Of each second that is over.
    pub requests: Vec<f64>,
    pub p99: Vec<f64>,
    pub tills: Vec<f64>,
    pub sum: Second,
    pub sight: &'a Sight,
    pub entries: &'a [Entry],
    pub words: &'a Words,
}

#[derive(Clone, Copy)]
enum Colour {
    Green = 32,
    Cyan = 36,
    Yellow = 33,
    Red = 31,
    Bold = 1,
}

/// Texts with or without colours.
#[derive(Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn on(self, colour: Colour, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            false => text.to_owned(),
        }
    }
}

/// `1:23`.
pub fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// The last of the values as bars, as many as there is room for.
fn bars(values: &[f64], width: usize) -> String {
    let values = &values[values.len().saturating_sub(width)..];
    let most = values.iter().copied().fold(f64::EPSILON, f64::max);
    let bar = |value: &f64| {
        let step = (value / most * (BARS.len() - 1) as f64).round();
        BARS[(step as usize).min(BARS.len() - 1)]
    };
    values.iter().map(bar).collect()
}

/// Text cut off at a number of columns; what has colours is short enough by itself.
fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

fn number(words: &Words, value: Option<f64>) -> String {
    value.map_or("–".into(), |value| {
        words.number(value, usize::from(value < 10.0))
    })
}

fn till(of: &Till, paint: Paint) -> String {
    match (of.leaving, of.ready) {
        (true, _) => paint.on(Colour::Red, "×"),
        (false, false) => paint.on(Colour::Yellow, "□"),
        (false, true) if of.version == "v1" => paint.on(Colour::Green, "■"),
        (false, true) => paint.on(Colour::Cyan, "◆"),
    }
}

/// The drawing, a line after the other.
pub fn draw(frame: &Frame, (width, height): (usize, usize), paint: Paint) -> Vec<String> {
    let words = frame.words;
    let rate = frame.day.rate(frame.now).round();
    let head = words.say(
        "head",
        &[
            &words.word("title"),
            &clock(frame.now),
            &clock(frame.day.length),
            &rate,
        ],
    );
    let mut lines = vec![paint.on(Colour::Bold, &cut(&head, width)), String::new()];
    lines.extend(plots(frame, width));
    lines.push(String::new());
    lines.push(cut(&sum(&frame.sum, words), width));
    lines.push(String::new());
    lines.extend(nodes(frame.sight, words, width, paint));
    let sight = frame.sight;
    let thief = words.say(
        "thief-now",
        &[&sight.thief.attempts, &sight.thief.successes],
    );
    let vault = words.say("vault-now", &[&sight.vault.deliveries]);
    for (who, said) in [("thief", thief), ("vault", vault)] {
        let line = format!("{:<LABEL$} {said}", cut(&words.word(who), LABEL));
        lines.push(cut(&line, width));
    }
    lines.push(String::new());
    let room = height.saturating_sub(lines.len() + 1);
    let shown = &frame.entries[frame.entries.len().saturating_sub(room)..];
    for entry in shown {
        let line = cut(&format!("{:>5}  {}", clock(entry.at), entry.text), width);
        lines.push(match entry.mark {
            Some(_) => paint.on(Colour::Bold, &line),
            None => line,
        });
    }
    lines.truncate(height.saturating_sub(1));
    lines
}

/// What was asked, how long it took and how many tills there were, each as bars.
fn plots(frame: &Frame, width: usize) -> Vec<String> {
    let room = width.saturating_sub(LABEL + 10).max(8);
    let sight = frame.sight;
    let last = |values: &[f64]| values.last().map_or(String::new(), |v| format!("{v:.0}"));
    let ready: [&dyn std::fmt::Display; 2] = [&sight.ready(), &sight.wanted];
    let tills = frame.words.say("tills-now", &ready);
    let plots = [
        ("requests", &frame.requests, last(&frame.requests)),
        ("latency", &frame.p99, last(&frame.p99)),
        ("tills", &frame.tills, tills),
    ];
    let line = |(word, values, last): (&str, &Vec<f64>, String)| {
        let (bars, name) = (bars(values, room), cut(&frame.words.word(word), LABEL));
        cut(&format!("{name:<LABEL$} {bars:<room$} {last}"), width)
    };
    plots.into_iter().map(line).collect()
}

fn sum(sum: &Second, words: &Words) -> String {
    let quantile = |share| number(words, sum.latencies.quantile(share));
    words.say(
        "sum",
        &[
            &sum.requests(),
            &sum.failed,
            &sum.failed_by_cut,
            &quantile(0.5),
            &quantile(0.99),
        ],
    )
}

/// A line a node, with its tills.
fn nodes(sight: &Sight, words: &Words, width: usize, paint: Paint) -> Vec<String> {
    let mut tills: BTreeMap<&str, Vec<&Till>> = BTreeMap::new();
    for node in sight.nodes.keys() {
        tills.insert(node, Vec::new());
    }
    for till in sight.tills.values().filter(|till| !till.node.is_empty()) {
        tills.entry(&till.node).or_default().push(till);
    }
    let line = |(node, tills): (&str, Vec<&Till>)| {
        let room = width.saturating_sub(30).max(2) / 2;
        let shown: Vec<String> = tills.iter().take(room).map(|of| till(of, paint)).collect();
        let lost = match sight.nodes.get(node) {
            Some(false) => paint.on(Colour::Red, &words.word("cut-off")),
            _ => String::new(),
        };
        let line = format!("{:<LABEL$} {} {lost}", cut(node, LABEL), shown.join(" "));
        line.trim_end().to_owned()
    };
    tills.into_iter().map(line).collect()
}

/// Columns and lines of the terminal, each time anew, as it may be made larger.
fn size() -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: it writes into `size`, which is there for as long as the call takes
    let known = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    match (known, size.ws_col, size.ws_row) {
        (true, columns, rows) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => USUAL,
    }
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

/// Tells of the day until `stop`.
pub async fn show(
    drawn: bool,
    day: &Day,
    chronicle: &Chronicle,
    sight: &watch::Receiver<Sight>,
    stop: &CancellationToken,
) {
    let telling = async {
        chronicle.wait_until_open().await;
        if drawn {
            draw_on(day, chronicle, sight).await;
        } else {
            tell(chronicle, sight).await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = stop.cancelled() => {}
    }
}

async fn draw_on(day: &Day, chronicle: &Chronicle, sight: &watch::Receiver<Sight>) {
    let screen = Screen::take();
    let colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    loop {
        let now = chronicle.now();
        let seen = sight.borrow().clone();
        let (entries, counts) = (chronicle.entries(), chronicle.counts());
        let over = now.as_secs() as usize;
        let (requests, p99, sum) = chronicle.with_ledger(|ledger| {
            let seconds = &ledger.seconds[..over.min(ledger.seconds.len())];
            let requests: Vec<f64> = seconds.iter().map(|s| s.requests() as f64).collect();
            let p99 = seconds.iter().map(|s| s.latencies.quantile(0.99));
            let p99: Vec<f64> = p99.map(|value| value.unwrap_or(0.0)).collect();
            (requests, p99, ledger.whole())
        });
        let at = |second: usize| {
            let time = Duration::from_secs(second as u64);
            let last = counts.iter().rfind(|count| count.at <= time);
            last.map_or(0.0, |count| count.ready as f64)
        };
        let frame = Frame {
            now,
            day,
            requests,
            p99,
            tills: (0..=over).map(at).collect(),
            sum,
            sight: &seen,
            entries: &entries,
            words: &chronicle.words,
        };
        screen.show(&draw(&frame, size(), Paint(colours)));
        tokio::time::sleep(DRAW).await;
    }
}

/// A line for each second, and one for all that happened in it.
async fn tell(chronicle: &Chronicle, sight: &watch::Receiver<Sight>) {
    let mut told = 0;
    for second in 1.. {
        tokio::time::sleep_until(chronicle.instant(Duration::from_secs(second)).into()).await;
        let entries = chronicle.entries();
        for entry in &entries[told..] {
            progress(&format!("{:>5}  {}", clock(entry.at), entry.text));
        }
        told = entries.len();
        let seen = sight.borrow().clone();
        let place = second as usize - 1;
        let told = chronicle.with_ledger(|ledger| line(place, ledger, &seen, &chronicle.words));
        progress(&told);
    }
}

fn line(place: usize, ledger: &Ledger, sight: &Sight, words: &Words) -> String {
    let none = Second::default();
    let second = ledger.seconds.get(place).unwrap_or(&none);
    let quantile = |share| number(words, second.latencies.quantile(share));
    let whole = ledger.whole();
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
    use crate::{cluster::shop::thief::Loot, demo::watch::Vault};

    fn sight() -> Sight {
        let till = |node: &str, version: &str, ready, leaving| Till {
            node: node.into(),
            version: version.into(),
            ready,
            leaving,
            restarts: 0,
        };
        Sight {
            tills: [
                ("a", till("node-1", "v1", true, false)),
                ("b", till("node-1", "v2", true, false)),
                ("c", till("node-2", "v2", false, false)),
                ("d", till("node-3", "v1", true, true)),
            ]
            .map(|(name, till)| (name.to_owned(), till))
            .into(),
            wanted: 3,
            nodes: [("node-1", true), ("node-2", false), ("node-3", true)]
                .map(|(name, ready)| (name.to_owned(), ready))
                .into(),
            thief: Loot {
                attempts: 120,
                ..Loot::default()
            },
            vault: Vault {
                deliveries: 7,
                sales: 70,
            },
            ..Sight::default()
        }
    }

    fn drawing(size: (usize, usize), language: &str, paint: Paint) -> Vec<String> {
        let mut sum = Second {
            answered: 400,
            failed: 1,
            ..Second::default()
        };
        sum.latencies.add(Duration::from_micros(2500));
        let entry = |at, text: &str, mark: Option<&str>| Entry {
            at: Duration::from_secs(at),
            text: text.into(),
            mark: mark.map(String::from),
        };
        let frame = Frame {
            now: Duration::from_secs(75),
            day: &Day {
                length: Duration::from_secs(150),
                peak: 100.0,
            },
            requests: (0..75).map(f64::from).collect(),
            p99: vec![1.0, 2.0, 40.0],
            tills: vec![2.0, 2.0, 3.0],
            sum,
            sight: &sight(),
            entries: &[
                entry(61, "the autoscaler opens tills", None),
                entry(70, "till-x is killed", Some("killed")),
            ],
            words: &Words::of(language).unwrap(),
        };
        draw(&frame, size, paint)
    }

    #[test]
    fn the_day_is_drawn() {
        let mut found = drawing((72, 24), "en", Paint(false)).join("\n");
        found += "\n\n";
        found += &drawing((40, 16), "fr", Paint(false)).join("\n");
        found += "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/demo/view.txt");
        if std::env::var_os("SKIFF_UPDATE").is_some() {
            std::fs::write(path, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn it_fits_whatever_the_terminal() {
        for size in [(20, 5), (72, 10), (200, 60), (1, 1)] {
            let lines = drawing(size, "en", Paint(false));
            assert!(lines.len() < size.1.max(1) + 1, "{size:?}");
            let free = ["node-"];
            let long = lines
                .iter()
                .filter(|line| !free.iter().any(|word| line.starts_with(word)));
            for line in long {
                assert!(line.chars().count() <= size.0, "{size:?} {line}");
            }
        }
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let plain = drawing((72, 24), "en", Paint(false)).join("");
        let coloured = drawing((72, 24), "en", Paint(true)).join("");
        assert!(!plain.contains('\x1b') && coloured.contains("\x1b[32m■"));
    }

    #[test]
    fn bars_are_by_the_largest() {
        assert_eq!(bars(&[0.0, 7.0, 14.0], 3), "▁▅█");
        assert_eq!(bars(&[100.0, 1.0, 1.0], 2), "██");
        assert_eq!(bars(&[], 5), "");
    }
}
