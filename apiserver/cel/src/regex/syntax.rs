//! Groups, flags and repetitions: an expression is read as Go reads it and written as the crate reads it, in one walk.
//!
//! Invariant: what comes out means to the crate what went in means to Go; of an error, the words and the part of the expression that they show are Go's.

use super::fault::{Code, Rest, SyntaxError, before, error, split};
use super::letters::{self, literal};

/// How deep groups may nest.
const DEEPEST: usize = 1000;
/// How often something may be repeated, repetitions within repetitions multiplied.
const MOST: u64 = 1000;

/// The expression as the crate reads it.
pub fn translate(expression: &str) -> Result<String, SyntaxError> {
    let mut parser = Parser {
        whole: expression,
        groups: vec![Group::default()],
        out: String::with_capacity(expression.len() + 8),
    };
    parser.run()?;
    Ok(parser.out)
}

/// What can be repeated: where it stands in what was written.
struct Operand {
    start: usize,
    end: usize,
    /// The repetitions in it, multiplied.
    weight: u64,
}

/// What stands open: the expression itself, or a group.
#[derive(Default)]
struct Group {
    /// Where it begins in what was written.
    start: usize,
    /// What came last; `None` when nothing is there to be repeated.
    last: Option<Operand>,
    /// The largest weight of what came before it.
    most: u64,
}

impl Group {
    /// What came last can no longer be repeated.
    fn pass(&mut self) {
        let weight = self.last.take().map_or(1, |last| last.weight);
        self.most = self.most.max(weight);
    }
}

struct Parser<'t> {
    whole: &'t str,
    groups: Vec<Group>,
    out: String,
}

impl<'t> Parser<'t> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        let mut rest = self.whole;
        // the repetition that came just before, from its operator to the end of the expression
        let mut repeated: Option<&str> = None;
        while let Some((letter, after)) = split(rest) {
            let mut repeats = None;
            rest = match letter {
                '(' if after.starts_with('?') => self.flags(rest)?,
                '(' => self.open("(", after)?,
                ')' => self.close(after)?,
                '|' => {
                    self.top().pass();
                    self.out.push('|');
                    after
                }
                '[' => self.operand(|out| letters::class(rest, out))?,
                '\\' => self.escaped(after, rest)?,
                '*' | '+' | '?' => {
                    repeats = Some(rest);
                    self.repeat(rest, after, repeated, None)?
                }
                '{' => match counts(after) {
                    Some(counts) => {
                        repeats = Some(rest);
                        self.counted(rest, repeated, counts)?
                    }
                    None => self.plain(letter, after),
                },
                '^' | '$' | '.' => self.operand(|out| {
                    out.push(letter);
                    Ok(after)
                })?,
                _ => self.plain(letter, after),
            };
            repeated = repeats;
        }
        if self.groups.len() > 1 {
            return error(Code::MissingParen, self.whole);
        }
        Ok(())
    }

    fn top(&mut self) -> &mut Group {
        let at = self.groups.len() - 1;
        &mut self.groups[at]
    }

    /// Something that may be repeated, as `write` writes it.
    fn operand(&mut self, write: impl FnOnce(&mut String) -> Rest<'t>) -> Rest<'t> {
        let start = self.out.len();
        let rest = write(&mut self.out)?;
        self.wrote(start, 1);
        Ok(rest)
    }

    /// What was written from `start` on may be repeated.
    fn wrote(&mut self, start: usize, weight: u64) {
        let end = self.out.len();
        let top = self.top();
        top.pass();
        top.last = Some(Operand { start, end, weight });
    }

    /// A letter that means itself.
    fn plain(&mut self, letter: char, after: &'t str) -> &'t str {
        let start = self.out.len();
        literal(&mut self.out, letter);
        self.wrote(start, 1);
        after
    }

    /// What a backslash begins outside of brackets.
    fn escaped(&mut self, after: &str, text: &'t str) -> Rest<'t> {
        if !after.starts_with('Q') {
            return self.operand(|out| letters::escaped(text, out));
        }
        // a quoted text of no letters is nothing that could be repeated
        let (quoted, rest) = text[2..].split_once("\\E").unwrap_or((&text[2..], ""));
        for letter in quoted.chars() {
            self.plain(letter, rest);
        }
        Ok(rest)
    }

    fn open(&mut self, written: &str, rest: &'t str) -> Rest<'t> {
        self.groups.push(Group {
            start: self.out.len(),
            ..Group::default()
        });
        if self.groups.len() > DEEPEST {
            return error(Code::NestingDepth, self.whole);
        }
        self.out.push_str(written);
        Ok(rest)
    }

    fn close(&mut self, rest: &'t str) -> Rest<'t> {
        match self.groups.pop() {
            Some(mut group) if !self.groups.is_empty() => {
                group.pass();
                self.out.push(')');
                self.wrote(group.start, group.most);
                Ok(rest)
            }
            _ => error(Code::UnexpectedParen, self.whole),
        }
    }

    /// `(?...`: a name, flags, or a group that captures nothing.
    fn flags(&mut self, text: &'t str) -> Rest<'t> {
        let begun = &text[2..];
        let named = begun.strip_prefix("P<").filter(|name| !name.is_empty());
        let plain = || begun.strip_prefix('<').filter(|name| !name.is_empty());
        if let Some(name) = named.or_else(plain) {
            let Some((name, rest)) = name.split_once('>') else {
                return error(Code::NamedCapture, text);
            };
            let good = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(good) {
                return error(Code::NamedCapture, before(text, rest));
            }
            // nobody asks for names
            return self.open("(", rest);
        }
        // the crate takes each flag once
        let (mut set, mut cleared) = (String::new(), String::new());
        let (mut rest, mut negated) = (begun, false);
        while let Some((letter, after)) = split(rest) {
            rest = after;
            let to = if negated { &mut cleared } else { &mut set };
            match letter {
                'i' | 'm' | 's' | 'U' if to.contains(letter) => {}
                'i' | 'm' | 's' | 'U' => to.push(letter),
                '-' if !negated => negated = true,
                ':' | ')' if !negated || !cleared.is_empty() => {
                    set.retain(|flag| !cleared.contains(flag));
                    let minus = if negated { "-" } else { "" };
                    let flags = format!("(?{set}{minus}{cleared}{letter}");
                    if letter == ':' {
                        return self.open(&flags, rest);
                    }
                    if flags != "(?)" {
                        self.out.push_str(&flags);
                    }
                    return Ok(rest);
                }
                _ => return error(Code::PerlOp, before(text, rest)),
            }
        }
        error(Code::PerlOp, text)
    }

    /// A repetition that begins at `text` and ends before `after`, up to so many times.
    fn repeat(
        &mut self,
        text: &str,
        after: &'t str,
        repeated: Option<&str>,
        times: Option<u64>,
    ) -> Rest<'t> {
        let after = after.strip_prefix('?').unwrap_or(after);
        let operator = before(text, after);
        if let Some(repeated) = repeated {
            return error(Code::RepeatOp, before(repeated, after));
        }
        let Some(operand) = self.top().last.take() else {
            return error(Code::MissingRepeatArgument, operator);
        };
        let Operand { start, end, weight } = operand;
        if end == self.out.len() {
            self.out.push_str(operator);
        } else {
            // flags stand between: the operator goes before them, and what it repeats may end in an operator
            self.out.insert_str(end, &format!("){operator}"));
            self.out.insert_str(start, "(?:");
        }
        self.wrote(
            start,
            match times {
                Some(0) => 1,
                Some(times) => weight.saturating_mul(times),
                None => weight,
            },
        );
        Ok(after)
    }

    /// `{min,max}`; without a `max` there is no most.
    fn counted(&mut self, text: &str, repeated: Option<&str>, counts: Counts<'t>) -> Rest<'t> {
        let Counts { min, max, after } = counts;
        let (min, limit) = match (min, max.unwrap_or(Some(MOST))) {
            (Some(min), Some(limit)) if min <= limit && limit <= MOST => (min, limit),
            _ => return error(Code::RepeatSize, before(text, after)),
        };
        // a part that may come any number of times counts as often as it must
        let times = max.map_or(min.max(1), |_| limit);
        let after = self.repeat(text, after, repeated, Some(times))?;
        let last = self.top().last.as_ref();
        if times >= 2 && last.is_some_and(|operand| operand.weight > MOST) {
            return error(Code::RepeatSize, before(text, after));
        }
        Ok(after)
    }
}

/// What stands in `{}`. Numbers that are too large are `None`.
struct Counts<'t> {
    min: Option<u64>,
    /// `None` where there is no most.
    max: Option<Option<u64>>,
    after: &'t str,
}

/// `None` for what is no repetition, but a text.
fn counts(text: &str) -> Option<Counts<'_>> {
    let (min, rest) = count(text)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => count(rest).map(|(max, rest)| (Some(max), rest))?,
    };
    let after = rest.strip_prefix('}')?;
    Some(Counts { min, max, after })
}

fn count(text: &str) -> Option<(Option<u64>, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().ok(), rest))
}
