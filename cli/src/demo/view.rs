//! A drawing of the day, as lines for a terminal.
//!
//! Invariant: a drawing is never larger than the terminal.

use std::{collections::BTreeMap, time::Duration};

use super::{
    chronicle::Entry,
    day::Day,
    measure::Second,
    watch::{Sight, Till},
    words::Words,
};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the words that lines begin with.
const LABEL: usize = 12;

/// All that a drawing shows.
pub struct Frame<'a> {
    pub now: Duration,
    pub day: &'a Day,
    /// Of the last seconds that are over, as many as there is room for.
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

/// Columns that a character takes, at most: those that are known to take one, and all others as two.
fn columns(letter: char) -> usize {
    let narrow =
        matches!(letter, '\0'..='\u{10ff}' | '\u{2000}'..='\u{22ff}' | '\u{2500}'..='\u{25fc}');
    if narrow { 1 } else { 2 }
}

/// Text cut off at a number of columns.
fn cut(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |letter: &char| {
        taken += columns(*letter);
        taken <= width
    };
    text.chars().take_while(fits).collect()
}

/// Plain text with the colour that it is to have.
type Piece = (Option<Colour>, String);

/// Pieces as one line: cut first, then painted, as what paints takes no columns.
fn painted(pieces: impl IntoIterator<Item = Piece>, width: usize, paint: Paint) -> String {
    let (mut line, mut left) = (String::new(), width);
    for (colour, text) in pieces {
        let shown = cut(&text, left);
        // nothing comes after what is cut off
        left = match shown == text {
            true => left - shown.chars().map(columns).sum::<usize>(),
            false => 0,
        };
        line += &match colour {
            Some(colour) if !shown.is_empty() => paint.on(colour, &shown),
            _ => shown,
        };
    }
    line
}

/// Columns of a plot's bars.
pub fn room(width: usize) -> usize {
    width.saturating_sub(LABEL + 10).max(8)
}

/// A figure, with a decimal where it is small; nothing is a dash.
pub fn number(words: &Words, value: Option<f64>) -> String {
    value.map_or("–".into(), |value| {
        words.number(value, usize::from(value < 10.0))
    })
}

fn till(of: &Till) -> Piece {
    let (colour, sign) = match (of.leaving, of.ready) {
        (true, _) => (Colour::Red, "×"),
        (false, false) => (Colour::Yellow, "□"),
        (false, true) if of.version == "v1" => (Colour::Green, "■"),
        (false, true) => (Colour::Cyan, "◆"),
    };
    (Some(colour), sign.to_owned())
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
    let room = room(width);
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
        let name = cut(node, LABEL);
        let mut pieces: Vec<Piece> = Vec::new();
        let plain = |text: String| (None, text);
        let pad = LABEL - name.chars().count();
        pieces.push(plain(name));
        for (place, of) in tills.iter().take(room).enumerate() {
            let space = if place == 0 { pad + 1 } else { 1 };
            pieces.push(plain(" ".repeat(space)));
            pieces.push(till(of));
        }
        if sight.nodes.get(node) == Some(&false) {
            let space = if tills.is_empty() { pad + 2 } else { 1 };
            pieces.push(plain(" ".repeat(space)));
            pieces.push((Some(Colour::Red), words.word("cut-off")));
        }
        painted(pieces, width, paint)
    };
    tills.into_iter().map(line).collect()
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

    /// What is seen of a line.
    fn unpainted(line: &str) -> String {
        let mut pieces = line.split('\x1b');
        let first = pieces.next().unwrap_or_default().to_owned();
        let rest = pieces.map(|piece| piece.split_once('m').unwrap().1);
        rest.fold(first, |line, piece| line + piece)
    }

    #[test]
    fn it_fits_whatever_the_terminal() {
        for size in [(20, 5), (72, 10), (14, 40), (200, 60), (20, 60), (1, 1)] {
            let lines = drawing(size, "en", Paint(false));
            assert!(lines.len() < size.1.max(1) + 1, "{size:?}");
            for line in &lines {
                assert!(line.chars().count() <= size.0, "{size:?} {line}");
            }
            let coloured = drawing(size, "en", Paint(true));
            let seen: Vec<String> = coloured.iter().map(|line| unpainted(line)).collect();
            assert_eq!(seen, lines, "{size:?}");
        }
        // some characters are wider than others
        assert_eq!(cut("ab\u{4e2d}c", 3), "ab");
        assert_eq!(cut("ab\u{4e2d}c", 4), "ab\u{4e2d}");
        let pieces = [(None, "\u{1f600}\u{1f600}"), (Some(Colour::Red), "x")];
        let pieces = pieces.map(|(colour, text)| (colour, text.to_owned()));
        assert_eq!(painted(pieces, 3, Paint(true)), "\u{1f600}");
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
