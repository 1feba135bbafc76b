//! The words of a Go template.
//! Invariant: words and the blanks between them stand in the order of the text; the last one is its end, or what is wrong with it.
//! Behaviour follows Go's `text/template/parse/lex.go`.

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Error,
    End,
    Text,
    Open,
    Close,
    Space,
    Bool,
    Char,
    CharConstant,
    Declare,
    Assign,
    Field,
    Identifier,
    Keyword,
    Dot,
    Nil,
    LeftParen,
    RightParen,
    Number,
    Pipe,
    RawString,
    String,
    Variable,
}

/// A word, where it begins, and in which line.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Kind,
    pub text: String,
    pub at: usize,
    pub line: usize,
}

const KEYWORDS: &[&str] = &[
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

struct Lexer<'a> {
    input: &'a str,
    start: usize,
    at: usize,
    line: usize,
    start_line: usize,
    depth: usize,
    items: Vec<Item>,
}

/// All words of a text.
pub fn items(text: &str) -> Vec<Item> {
    let mut lexer = Lexer {
        input: text,
        start: 0,
        at: 0,
        line: 1,
        start_line: 1,
        depth: 0,
        items: vec![],
    };
    if let Err(why) = lexer.texts() {
        let (at, line) = (lexer.start, lexer.start_line);
        lexer.items.push(Item {
            kind: Kind::Error,
            text: why,
            at,
            line,
        });
    }
    lexer.items
}

/// What stands for a character in messages.
fn numbered(c: char) -> String {
    skiff_api::machinery::quote::GoNumbered(c).to_string()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let fits = self.peek().is_some_and(wanted);
        if fits {
            self.next();
        }
        fits
    }

    fn run(&mut self, wanted: impl Fn(char) -> bool + Copy) {
        while self.accept(wanted) {}
    }

    fn skip(&mut self, bytes: usize) {
        let end = self.at + bytes;
        while self.at < end {
            self.next();
        }
    }

    fn ignore(&mut self) {
        (self.start, self.start_line) = (self.at, self.line);
    }

    fn emit(&mut self, kind: Kind) {
        self.items.push(Item {
            kind,
            text: self.input[self.start..self.at].into(),
            at: self.start,
            line: self.start_line,
        });
        self.ignore();
    }

    /// Texts and actions, to the end.
    fn texts(&mut self) -> Result<(), String> {
        loop {
            let Some(offset) = self.rest().find("{{") else {
                self.skip(self.rest().len());
                if self.at > self.start {
                    self.emit(Kind::Text);
                }
                self.emit(Kind::End);
                return Ok(());
            };
            let open = self.at + offset;
            let trims = is_trim_left(&self.input[open + 2..]);
            let text = &self.input[self.at..open];
            let kept = if trims {
                text.trim_end_matches(is_space)
            } else {
                text
            };
            let (kept, dropped) = (kept.len(), text.len() - kept.len());
            self.skip(kept);
            if self.at > self.start {
                self.emit(Kind::Text);
            }
            self.skip(dropped);
            self.ignore();
            self.action(trims)?;
        }
    }

    /// One action or comment.
    fn action(&mut self, trims: bool) -> Result<(), String> {
        let marker = if trims { 2 } else { 0 };
        if self.input[self.at + 2 + marker..].starts_with("/*") {
            self.skip(2 + marker);
            self.ignore();
            return self.comment();
        }
        self.skip(2);
        self.emit(Kind::Open);
        self.skip(marker);
        self.ignore();
        self.depth = 0;
        loop {
            if let Some(trims) = self.closes() {
                if self.depth > 0 {
                    return Err("unclosed left paren".into());
                }
                self.close(trims);
                return Ok(());
            }
            self.word()?;
        }
    }

    /// Whether an action ends here, and if so, whether it trims what follows.
    fn closes(&self) -> Option<bool> {
        let rest = self.rest();
        match rest
            .strip_prefix(is_space)
            .and_then(|r| r.strip_prefix('-'))
        {
            Some(rest) if rest.starts_with("}}") => Some(true),
            _ => rest.starts_with("}}").then_some(false),
        }
    }

    fn close(&mut self, trims: bool) {
        if trims {
            self.skip(2);
            self.ignore();
        }
        self.skip(2);
        self.emit(Kind::Close);
        self.trim_right(trims);
    }

    fn trim_right(&mut self, trims: bool) {
        if trims {
            self.run(is_space);
            self.ignore();
        }
    }

    fn comment(&mut self) -> Result<(), String> {
        let Some(length) = self.rest().find("*/") else {
            return Err("unclosed comment".into());
        };
        self.skip(length + 2);
        let Some(trims) = self.closes() else {
            return Err("comment ends before closing delimiter".into());
        };
        self.skip(if trims { 4 } else { 2 });
        self.ignore();
        self.trim_right(trims);
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        let Some(c) = self.peek() else {
            return Err("unclosed action".into());
        };
        let mut after = self.rest().chars().skip(1);
        let digit_follows = after.next().is_some_and(|c| c.is_ascii_digit());
        match c {
            c if is_space(c) => {
                // The blank before a closing that trims is a part of it.
                while self.peek().is_some_and(is_space) && self.closes().is_none() {
                    self.next();
                }
                if self.at > self.start {
                    self.emit(Kind::Space);
                }
            }
            '=' => self.one(Kind::Assign),
            ':' => {
                self.next();
                if !self.accept(|c| c == '=') {
                    return Err("expected :=".into());
                }
                self.emit(Kind::Declare);
            }
            '|' => self.one(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant")?,
            '`' => {
                self.next();
                let Some(length) = self.rest().find('`') else {
                    return Err("unterminated raw quoted string".into());
                };
                self.skip(length + 1);
                self.emit(Kind::RawString);
            }
            '$' => self.named(Kind::Variable, Kind::Variable)?,
            '.' if !digit_follows => self.named(Kind::Field, Kind::Dot)?,
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            c if is_word(c) => self.identifier()?,
            '(' => {
                self.depth += 1;
                self.one(Kind::LeftParen);
            }
            ')' => {
                self.next();
                let Some(depth) = self.depth.checked_sub(1) else {
                    return Err("unexpected right paren".into());
                };
                self.depth = depth;
                self.emit(Kind::RightParen);
            }
            c if c.is_ascii_graphic() => self.one(Kind::Char),
            c => return Err(format!("unrecognized character in action: {}", numbered(c))),
        }
        Ok(())
    }

    fn one(&mut self, kind: Kind) {
        self.next();
        self.emit(kind);
    }

    fn quoted(&mut self, quote: char, kind: Kind, unended: &str) -> Result<(), String> {
        self.next();
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some('\\' | '\n') | None => return Err(unended.into()),
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    /// A field or variable; `alone` where no name follows.
    fn named(&mut self, kind: Kind, alone: Kind) -> Result<(), String> {
        self.next();
        if self.ends_word() {
            self.emit(alone);
            return Ok(());
        }
        self.run(is_word);
        self.ended()?;
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), String> {
        self.run(is_word);
        self.ended()?;
        let kind = match &self.input[self.start..self.at] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn ended(&self) -> Result<(), String> {
        match self.peek() {
            Some(c) if !self.ends_word() => Err(format!("bad character {}", numbered(c))),
            _ => Ok(()),
        }
    }

    fn ends_word(&self) -> bool {
        let rest = self.rest();
        rest.is_empty()
            || rest.starts_with("}}")
            || rest.starts_with(|c| is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '('))
    }

    fn number(&mut self) -> Result<(), String> {
        self.accept(|c| matches!(c, '+' | '-'));
        let mut base = 10;
        if self.accept(|c| c == '0') {
            for (letters, found) in [(['x', 'X'], 16), (['o', 'O'], 8), (['b', 'B'], 2)] {
                if self.accept(|c| letters.contains(&c)) {
                    base = found;
                }
            }
        }
        let digit = move |c: char| c == '_' || c.is_digit(base);
        self.run(digit);
        if self.accept(|c| c == '.') {
            self.run(digit);
        }
        let exponent = if base == 16 { ['p', 'P'] } else { ['e', 'E'] };
        if matches!(base, 10 | 16) && self.accept(|c| exponent.contains(&c)) {
            self.accept(|c| matches!(c, '+' | '-'));
            self.run(|c| c == '_' || c.is_ascii_digit());
        }
        self.accept(|c| c == 'i');
        if self.accept(is_word) {
            let number = &self.input[self.start..self.at];
            return Err(format!(
                "bad number syntax: {}",
                crate::error::quote(number)
            ));
        }
        self.emit(Kind::Number);
        Ok(())
    }
}

/// Whether an action that begins with this text takes the blanks before it away.
fn is_trim_left(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(is_space))
}
