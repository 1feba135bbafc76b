//! The day as a page: the table, plots with the acts marked in them, and what happened; one file that asks for no other.
//!
//! Invariant: whatever is put into the page is text there, never markup.

use std::{fmt::Write, fs::File, io, time::Duration};

use anyhow::Context;

use super::{
    chronicle::{Count, Entry},
    measure::Ledger,
    outcome::Outcome,
    tell::progress,
    view::clock,
    words::Words,
};
use crate::print::html::escape_html;

const PAGE: &str = include_str!("page.html");
/// Size of a plot, and what its axes take of it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 16.0;
/// Marks nearer than this to the one before do not get their word.
const APART: f64 = 58.0;

/// All that the page tells.
pub struct Report<'a> {
    pub outcome: &'a Outcome,
    pub ledger: &'a Ledger,
    pub counts: &'a [Count],
    pub entries: &'a [Entry],
    pub words: &'a Words,
    pub nodes: usize,
    pub peak: i64,
}

/// One line of a plot.
struct Line {
    name: String,
    class: &'static str,
    /// Seconds and values.
    points: Vec<(f64, f64)>,
}

/// Where in a plot a time and a value are.
#[derive(Clone, Copy)]
struct Place {
    /// The last second, and the largest value.
    longest: f64,
    most: f64,
}

impl Place {
    fn x(self, at: f64) -> f64 {
        LEFT + at / self.longest * (WIDTH - LEFT - 8.0)
    }

    fn y(self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.most * (HEIGHT - BOTTOM - TOP)
    }
}

/// The file that the page is to be written into.
#[derive(Debug)]
pub struct Sheet {
    path: String,
    /// It was not there before.
    made: bool,
}

impl Sheet {
    /// Sees that it can be written, and leaves what is in it.
    pub fn open(path: &str) -> anyhow::Result<Sheet> {
        let open = |new: bool| {
            let mut options = File::options();
            options.append(true).create_new(new).open(path)
        };
        let opened = match open(true) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open(false).map(|_| false)
            }
            made => made.map(|_| true),
        };
        Ok(Sheet {
            made: opened.with_context(|| format!("cannot write {path}"))?,
            path: path.to_owned(),
        })
    }

    /// Puts the page in, in place of what was there.
    pub fn write(&mut self, page: &str) -> anyhow::Result<()> {
        std::fs::write(&self.path, page).with_context(|| format!("cannot write {}", self.path))?;
        self.made = false;
        Ok(())
    }
}

impl Drop for Sheet {
    /// One that was made and has no page goes.
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            progress(&format!("cannot remove {}: {error}", self.path));
        }
    }
}

impl Report<'_> {
    /// The page.
    pub fn page(&self) -> String {
        let words = self.words;
        let version = env!("CARGO_PKG_VERSION");
        let made_by = words.say("made-by", &[&version, &self.nodes, &self.peak]);
        let text = |word: &str| escape_html(&words.word(word));
        let parts = [
            ("language", words.language.to_owned()),
            ("title", text("title")),
            ("made-by", escape_html(&made_by)),
            ("what", text("what")),
            ("figure", text("figure")),
            ("happened", text("happened")),
            ("rows", self.rows()),
            ("plots", self.plots()),
            ("entries", self.log()),
        ];
        // one pass: what was put in is not looked at again
        let mut pieces = PAGE.split("{{");
        let mut page = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
            let part = parts.iter().find(|(part, _)| *part == name);
            page += part.map_or("", |(_, text)| text);
            page += rest;
        }
        page
    }

    fn rows(&self) -> String {
        let rows = self.outcome.rows(self.words);
        let row = |(what, it): &(String, String)| {
            format!(
                "<tr><td>{}</td><td>{}</td></tr>\n",
                escape_html(what),
                escape_html(it)
            )
        };
        rows.iter().map(row).collect()
    }

    fn log(&self) -> String {
        let entry = |entry: &Entry| {
            let class = if entry.mark.is_some() {
                " class=\"act\""
            } else {
                ""
            };
            let (at, text) = (clock(entry.at), escape_html(&entry.text));
            format!("<tr{class}><td>{at}</td><td>{text}</td></tr>\n")
        };
        self.entries.iter().map(entry).collect()
    }

    fn plots(&self) -> String {
        let line = |word: &str, class, points| Line {
            name: self.words.word(word),
            class,
            points,
        };
        // the last second is not whole
        let seconds = &self.ledger.seconds[..self.ledger.seconds.len().saturating_sub(1)];
        let each = |value: &dyn Fn(usize) -> Option<f64>| -> Vec<(f64, f64)> {
            let points = 0..seconds.len();
            points
                .filter_map(|at| Some((at as f64, value(at)?)))
                .collect()
        };
        let answered = each(&|at| Some(seconds[at].answered as f64));
        let failed = each(&|at| Some((seconds[at].failed + seconds[at].failed_by_cut) as f64));
        let half = each(&|at| seconds[at].latencies.quantile(0.5));
        let most = each(&|at| seconds[at].latencies.quantile(0.99));
        let plots = [
            (
                "requests",
                vec![line("answered", "a", answered), line("failed", "b", failed)],
            ),
            (
                "latencies",
                vec![line("half", "a", half), line("most", "b", most)],
            ),
            (
                "tills",
                vec![
                    line("wanted", "c", self.steps(|count| f64::from(count.wanted))),
                    line("ready", "a", self.steps(|count| count.ready as f64)),
                ],
            ),
        ];
        let plots = plots.iter();
        plots.map(|(word, lines)| self.plot(word, lines)).collect()
    }

    /// A value that stays until the next.
    fn steps(&self, value: impl Fn(&Count) -> f64) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for count in self.counts {
            let at = count.at.as_secs_f64();
            if let Some((_, before)) = points.last().copied() {
                points.push((at, before));
            }
            points.push((at, value(count)));
        }
        if let Some((_, last)) = points.last().copied() {
            points.push((self.outcome.seconds, last));
        }
        points
    }

    fn plot(&self, word: &str, lines: &[Line]) -> String {
        let values = lines.iter().flat_map(|line| &line.points);
        let place = Place {
            longest: self.outcome.seconds.max(1.0),
            most: round_up(values.map(|(_, value)| *value).fold(1.0, f64::max)),
        };
        let mut svg = self.axes(place) + &self.marked(place);
        let mut keys = String::new();
        for line in lines {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", place.x(*at), place.y(*value)))
                .collect();
            let (class, points, name) = (line.class, points.join(" "), escape_html(&line.name));
            put(
                &mut svg,
                format_args!("<polyline class=\"{class}\" points=\"{points}\"/>\n"),
            );
            put(
                &mut keys,
                format_args!("<span class=\"key\"><i class=\"{class}\"></i>{name}</span>"),
            );
        }
        let name = escape_html(&self.words.word(word));
        format!(
            "<h2>{name}</h2>\n<div>{keys}</div>\n<svg role=\"img\" aria-label=\"{name}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n{svg}</svg>\n"
        )
    }

    /// Lines and numbers of the values, and times below.
    fn axes(&self, place: Place) -> String {
        let mut svg = String::new();
        for part in [0.0, 0.5, 1.0] {
            let value = place.most * part;
            let height = place.y(value);
            let value = self.words.number(value, usize::from(place.most < 4.0));
            put(
                &mut svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{height:.1}\" y2=\"{height:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                    LEFT - 6.0,
                    height + 4.0
                ),
            );
        }
        let step = round_up(place.longest / 8.0).max(1.0);
        let mut at = 0.0;
        while at <= place.longest {
            let time = clock(Duration::from_secs_f64(at));
            let (x, y) = (place.x(at), HEIGHT - 6.0);
            put(
                &mut svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{time}</text>\n"
                ),
            );
            at += step;
        }
        svg
    }

    /// A line for each act, and its word where there is room for it.
    fn marked(&self, place: Place) -> String {
        let mut svg = String::new();
        let mut last = f64::MIN;
        for (at, mark) in self.marks() {
            let x = place.x(at);
            let (top, bottom) = (TOP - 4.0, HEIGHT - BOTTOM);
            put(
                &mut svg,
                format_args!(
                    "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
                ),
            );
            if x - last >= APART {
                let mark = escape_html(mark);
                put(
                    &mut svg,
                    format_args!(
                        "<text x=\"{x:.1}\" y=\"{top:.1}\" text-anchor=\"middle\">{mark}</text>"
                    ),
                );
                last = x;
            }
            svg.push('\n');
        }
        svg
    }

    fn marks(&self) -> impl Iterator<Item = (f64, &str)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((entry.at.as_secs_f64(), entry.mark.as_deref()?)))
    }
}

/// Writing into a text does not fail.
fn put(text: &mut String, what: std::fmt::Arguments) {
    let _ = text.write_fmt(what);
}

/// The next number of those that people count by.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let fits = steps.iter().find(|step| *step * power >= value * 0.999_999);
    fits.unwrap_or(&10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::measure::Ended;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, wanted) in [
            (1.0, 1.0),
            (7.0, 8.0),
            (150.0, 200.0),
            (0.12, 0.2),
            (9.5, 10.0),
        ] {
            assert!((round_up(value) - wanted).abs() < 1e-9, "{value}");
        }
    }

    fn page(language: &str) -> String {
        let mut ledger = Ledger::default();
        for second in 0..20 {
            let at = Duration::from_millis(second * 1000 + 10);
            ledger.note(at, Ended::Answered(Duration::from_millis(2 + second)));
        }
        let count = |at, ready, wanted| Count {
            at: Duration::from_secs(at),
            ready,
            wanted,
        };
        let mut outcome = Outcome {
            seconds: 20.0,
            requests: 20,
            ..Outcome::default()
        };
        outcome.failures.insert("<b>&\"".into(), 3);
        let entry = |at, text: &str, mark: Option<&str>| Entry {
            at: Duration::from_secs(at),
            text: text.into(),
            mark: mark.map(String::from),
        };
        Report {
            outcome: &outcome,
            ledger: &ledger,
            counts: &[count(0, 2, 2), count(9, 2, 4), count(10, 4, 4)],
            entries: &[
                entry(5, "<script>alert(1)</script> {{rows}}", Some("a<b")),
                entry(6, "healed", None),
            ],
            words: &Words::of(language).unwrap(),
            nodes: 3,
            peak: 100,
        }
        .page()
    }

    #[test]
    fn the_page_is_whole_and_its_texts_are_texts() {
        let page = page("en");
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert_eq!(page.matches("<svg ").count(), 3);
        assert_eq!(page.matches("<polyline ").count(), 6);
        // three plots have a line and a word for the one act
        assert_eq!(page.matches(">a&lt;b</text>").count(), 3);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; {{rows}}"));
        assert!(page.contains("&lt;b&gt;&amp;&#34;"));
        assert!(!page.contains("<script") && !page.contains("<b>"));
        // it asks for nothing
        for way in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(way), "{way}");
        }
        // a step has two points more than the values
        assert!(page.contains("class=\"c\" points=\"44.0,"));
    }

    #[test]
    fn the_page_speaks_its_language() {
        let page = page("fr");
        assert!(page.contains("<html lang=\"fr\">") && page.contains("Requêtes"));
        assert!(!page.contains("Requests"));
    }

    #[test]
    fn a_file_that_was_there_is_left_until_there_is_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (old, new) = (path("old"), path("new"));
        std::fs::write(&old, "yesterday's").unwrap();
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let open = |path: &str| Sheet::open(path).unwrap();
        let (mut sheet, _) = (open(&old), open(&new));
        assert_eq!(read(&old).as_deref(), Some("yesterday's"));
        assert_eq!(read(&new), None, "it was made for nothing");
        sheet.write("a").unwrap();
        open(&new).write("b").unwrap();
        drop(sheet);
        assert_eq!(read(&old).as_deref(), Some("a"));
        assert_eq!(read(&new).as_deref(), Some("b"));
        let error = Sheet::open(&path("no/such")).err().unwrap().to_string();
        assert!(error.contains("no/such"), "{error}");
    }
}
