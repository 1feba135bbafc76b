//! A Go template as a tree.
//! Invariant: every mistake that Go finds when it reads a template is found here, in Go's words.
//! Behaviour follows Go's `text/template/parse/parse.go` and `node.go`.

use std::collections::BTreeMap;

use super::lex::{Item, Kind, items};
use crate::error::quote;

/// What stands in a template, one after the other.
pub type List = Vec<Node>;

/// A part of a template.
#[derive(Debug)]
pub enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Call),
    Break,
    Continue,
}

/// `{{if}}`, `{{with}}` and `{{range}}`.
#[derive(Debug)]
pub struct Branch {
    pub pipe: Pipe,
    pub list: List,
    pub other: Option<List>,
}

/// `{{template}}`, or where a `{{block}}` stands.
#[derive(Debug)]
pub struct Call {
    pub at: usize,
    pub name: String,
    pub pipe: Option<Pipe>,
}

/// Commands of which each is given what the one before it makes.
#[derive(Debug)]
pub struct Pipe {
    pub at: usize,
    pub variables: Vec<String>,
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// A function or value with its arguments.
#[derive(Debug)]
pub struct Command {
    pub at: usize,
    pub words: Vec<Word>,
}

/// An operand, and where it stands.
#[derive(Debug)]
pub struct Word {
    pub at: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Dot,
    Nil,
    Bool(bool),
    /// With its text.
    Number(Number, String),
    /// With its text.
    String(String, String),
    Field(Vec<String>),
    Variable(Vec<String>),
    Function(String),
    Pipe(Pipe),
    Chain(Box<Word>, Vec<String>),
}

#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Word {
    pub fn shown(&self) -> String {
        match &self.what {
            What::Dot => ".".into(),
            What::Nil => "nil".into(),
            What::Bool(on) => on.to_string(),
            What::Number(_, text) | What::String(_, text) | What::Function(text) => text.clone(),
            What::Field(path) => path.iter().map(|name| format!(".{name}")).collect(),
            What::Variable(path) => path.join("."),
            What::Pipe(pipe) => format!("({})", pipe.shown()),
            What::Chain(word, path) => format!("{}.{}", word.shown(), path.join(".")),
        }
    }
}

impl Command {
    pub fn shown(&self) -> String {
        let words: Vec<String> = self.words.iter().map(Word::shown).collect();
        words.join(" ")
    }
}

impl Pipe {
    pub fn shown(&self) -> String {
        let commands: Vec<String> = self.commands.iter().map(Command::shown).collect();
        let commands = commands.join(" | ");
        if self.variables.is_empty() {
            return commands;
        }
        let sign = if self.assigns { "=" } else { ":=" };
        format!("{} {sign} {commands}", self.variables.join(", "))
    }
}

impl Call {
    pub fn shown(&self) -> String {
        let pipe = self.pipe.as_ref().map(|pipe| format!(" {}", pipe.shown()));
        format!(
            "{{{{template {}{}}}}}",
            quote(&self.name),
            pipe.unwrap_or_default()
        )
    }
}

/// A template, and those that it defines.
#[derive(Debug)]
pub struct Tree {
    pub main: List,
    pub defined: BTreeMap<String, List>,
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq)]
enum Ended {
    End,
    Else,
}

impl Ended {
    fn shown(self) -> &'static str {
        match self {
            Ended::End => "{{end}}",
            Ended::Else => "{{else}}",
        }
    }
}

enum Part {
    Node(Node),
    Ended(Ended),
}

struct Parser<'a> {
    items: Vec<Item>,
    next: usize,
    action_line: usize,
    ranges: usize,
    variables: Vec<String>,
    defined: BTreeMap<String, List>,
    is_function: &'a dyn Fn(&str) -> bool,
}

type Parsed<T> = Result<T, String>;

/// Reads a template.
///
/// # Errors
/// Go's words for the mistake, with its line.
pub fn parse(text: &str, is_function: &dyn Fn(&str) -> bool) -> Parsed<Tree> {
    let mut parser = Parser {
        items: items(text),
        next: 0,
        action_line: 0,
        ranges: 0,
        variables: vec!["$".into()],
        defined: BTreeMap::new(),
        is_function,
    };
    let main = parser.main();
    let line = parser.items[parser.next.saturating_sub(1)].line;
    let main = main.map_err(|why| format!("template: output:{line}: {why}"))?;
    Ok(Tree {
        main,
        defined: parser.defined,
    })
}

impl Parser<'_> {
    /// The next word; the last one again and again.
    fn take(&mut self) -> Item {
        let item = self.items[self.next.min(self.items.len() - 1)].clone();
        if self.next < self.items.len() {
            self.next += 1;
        }
        item
    }

    fn back(&mut self) {
        self.next -= 1;
    }

    fn peek(&mut self) -> Item {
        let item = self.take();
        self.back();
        item
    }

    fn take_word(&mut self) -> Item {
        loop {
            let item = self.take();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_word(&mut self) -> Item {
        let item = self.take_word();
        self.back();
        item
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Parsed<T> {
        if item.kind != Kind::Error {
            return Err(format!("unexpected {} in {context}", shown(item)));
        }
        let mut began = String::new();
        if self.action_line != 0 && self.action_line != item.line {
            began = format!(" in action started at output:{}", self.action_line);
            if item.text.ends_with(" action") {
                began = began[" in action".len()..].into();
            }
        }
        Err(format!("{}{began}", item.text))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Item> {
        let item = self.take_word();
        match item.kind == kind {
            true => Ok(item),
            false => self.unexpected(&item, context),
        }
    }

    fn main(&mut self) -> Parsed<List> {
        let mut list = List::new();
        while self.peek().kind != Kind::End {
            if self.peek().kind == Kind::Open {
                let before = self.next;
                self.take();
                let word = self.take_word();
                if word.kind == Kind::Keyword && word.text == "define" {
                    self.definition()?;
                    continue;
                }
                self.next = before;
            }
            match self.part()? {
                Part::Node(node) => list.push(node),
                Part::Ended(how) => return Err(format!("unexpected {}", how.shown())),
            }
        }
        // the end counts as read
        self.take();
        Ok(list)
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let name = self.take_word();
        let name = self.name(&name, CONTEXT)?;
        self.expect(Kind::Close, CONTEXT)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (list, ended) = self.list()?;
        (self.variables, self.ranges) = (outer, ranges);
        if ended == Ended::Else {
            return Err(format!("unexpected {} in {CONTEXT}", ended.shown()));
        }
        self.defined.insert(name, list);
        Ok(())
    }

    fn list(&mut self) -> Parsed<(List, Ended)> {
        let mut list = List::new();
        while self.peek_word().kind != Kind::End {
            match self.part()? {
                Part::Node(node) => list.push(node),
                Part::Ended(how) => return Ok((list, how)),
            }
        }
        self.take();
        Err("unexpected EOF".into())
    }

    fn part(&mut self) -> Parsed<Part> {
        let item = self.take_word();
        match item.kind {
            Kind::Text => Ok(Part::Node(Node::Text(item.text))),
            Kind::Open => {
                self.action_line = item.line;
                let part = self.action();
                if part.is_ok() {
                    self.action_line = 0;
                }
                part
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Part> {
        let item = self.take_word();
        let word = match item.kind {
            Kind::Keyword => item.text.as_str(),
            _ => "",
        };
        let node = match word {
            "block" => self.block()?,
            "break" | "continue" => self.jump(word)?,
            "else" => return self.otherwise(),
            "end" => {
                self.expect(Kind::Close, "end")?;
                return Ok(Part::Ended(Ended::End));
            }
            "if" => Node::If(self.branch("if")?),
            "range" => Node::Range(self.branch("range")?),
            "with" => Node::With(self.branch("with")?),
            "template" => self.template()?,
            _ => {
                self.back();
                Node::Action(self.pipe("command", Kind::Close)?)
            }
        };
        Ok(Part::Node(node))
    }

    fn otherwise(&mut self) -> Parsed<Part> {
        let next = self.peek_word();
        let nests = next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with");
        if !nests {
            self.expect(Kind::Close, "else")?;
        }
        Ok(Part::Ended(Ended::Else))
    }

    fn jump(&mut self, word: &str) -> Parsed<Node> {
        let item = self.take_word();
        if item.kind != Kind::Close {
            return self.unexpected(&item, &format!("{{{{{word}}}}}"));
        }
        if self.ranges == 0 {
            return Err(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        Ok(match word {
            "break" => Node::Break,
            _ => Node::Continue,
        })
    }

    fn branch(&mut self, word: &str) -> Parsed<Branch> {
        let known = self.variables.len();
        let pipe = self.pipe(word, Kind::Close)?;
        self.ranges += usize::from(word == "range");
        let (list, ended) = self.list()?;
        self.ranges -= usize::from(word == "range");
        let mut other = None;
        if ended == Ended::Else {
            let next = self.peek();
            if word != "range" && next.kind == Kind::Keyword && next.text == word {
                self.take();
                let inner = self.branch(word)?;
                let inner = if word == "if" {
                    Node::If(inner)
                } else {
                    Node::With(inner)
                };
                other = Some(vec![inner]);
            } else {
                let (list, ended) = self.list()?;
                if ended == Ended::Else {
                    return Err(format!("expected end; found {}", ended.shown()));
                }
                other = Some(list);
            }
        }
        self.variables.truncate(known);
        Ok(Branch { pipe, list, other })
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let item = self.take_word();
        let name = self.name(&item, CONTEXT)?;
        let pipe = self.pipe(CONTEXT, Kind::Close)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let (list, ended) = self.list()?;
        self.variables = outer;
        if ended == Ended::Else {
            return Err(format!("unexpected {} in {CONTEXT}", ended.shown()));
        }
        self.defined.insert(name.clone(), list);
        Ok(Node::Template(Call {
            at: item.at,
            name,
            pipe: Some(pipe),
        }))
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let item = self.take_word();
        let name = self.name(&item, CONTEXT)?;
        let pipe = match self.take_word().kind {
            Kind::Close => None,
            _ => {
                self.back();
                Some(self.pipe(CONTEXT, Kind::Close)?)
            }
        };
        Ok(Node::Template(Call {
            at: item.at,
            name,
            pipe,
        }))
    }

    fn name(&self, item: &Item, context: &str) -> Parsed<String> {
        match item.kind {
            Kind::String | Kind::RawString => unquoted(&item.text),
            _ => self.unexpected(item, context),
        }
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let mut pipe = Pipe {
            at: self.peek_word().at,
            variables: vec![],
            assigns: false,
            commands: vec![],
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let item = self.take_word();
            if item.kind == end {
                break;
            }
            match item.kind {
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back();
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&item, context),
            }
        }
        if pipe.commands.is_empty() {
            return Err(format!("missing value for {context}"));
        }
        let runs = |command: &Command| {
            !matches!(
                command.words[0].what,
                What::Bool(_) | What::Dot | What::Nil | What::Number(..) | What::String(..)
            )
        };
        match pipe.commands.iter().skip(1).position(|c| !runs(c)) {
            Some(at) => Err(format!(
                "non executable command in pipeline stage {}",
                at + 2
            )),
            None => Ok(pipe),
        }
    }

    /// The variables that a pipe sets.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let before = self.next;
            let variable = self.take_word();
            if variable.kind != Kind::Variable {
                self.next = before;
                return Ok(());
            }
            let next = self.peek_word();
            let is_comma = next.kind == Kind::Char && next.text == ",";
            if !is_comma && !matches!(next.kind, Kind::Assign | Kind::Declare) {
                self.next = before;
                return Ok(());
            }
            self.take_word();
            pipe.variables.push(variable.text.clone());
            self.variables.push(variable.text);
            if !is_comma {
                pipe.assigns = next.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return Err(format!("too many declarations in {context}"));
            }
            if !matches!(
                self.peek_word().kind,
                Kind::Variable | Kind::Close | Kind::RightParen
            ) {
                return Err("range can only initialize variables".into());
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut command = Command {
            at: self.peek_word().at,
            words: vec![],
        };
        loop {
            self.peek_word();
            while self.peek().kind == Kind::Space {
                self.take();
            }
            if let Some(word) = self.operand()? {
                command.words.push(word);
            }
            let item = self.take();
            match item.kind {
                Kind::Space => continue,
                Kind::Close | Kind::RightParen => self.back(),
                Kind::Pipe => {}
                _ => return self.unexpected(&item, "operand"),
            }
            break;
        }
        match command.words.is_empty() {
            true => Err("empty command".into()),
            false => Ok(command),
        }
    }

    /// A term with the fields that follow it.
    fn operand(&mut self) -> Parsed<Option<Word>> {
        let Some(word) = self.term()? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(word));
        }
        let mut more = Vec::new();
        while self.peek().kind == Kind::Field {
            more.push(self.take().text[1..].to_string());
        }
        let at = first.at;
        let shown = word.shown();
        let what = match word.what {
            What::Field(mut path) => {
                path.extend(more);
                What::Field(path)
            }
            What::Variable(mut path) => {
                path.extend(more);
                What::Variable(path)
            }
            What::Bool(_) | What::String(..) | What::Number(..) | What::Nil | What::Dot => {
                return Err(format!("unexpected . after term {}", quote(&shown)));
            }
            _ => What::Chain(Box::new(word), more),
        };
        Ok(Some(Word { at, what }))
    }

    fn term(&mut self) -> Parsed<Option<Word>> {
        let item = self.take_word();
        let text = item.text;
        let what = match item.kind {
            Kind::Identifier if !(self.is_function)(&text) => {
                return Err(format!("function {} not defined", quote(&text)));
            }
            Kind::Identifier => What::Function(text),
            Kind::Dot => What::Dot,
            Kind::Nil => What::Nil,
            Kind::Variable if !self.variables.contains(&text) => {
                return Err(format!("undefined variable {}", quote(&text)));
            }
            Kind::Variable => What::Variable(vec![text]),
            Kind::Field => What::Field(vec![text[1..].into()]),
            Kind::Bool => What::Bool(text == "true"),
            Kind::CharConstant | Kind::Number => What::Number(number(&text)?, text),
            Kind::LeftParen => What::Pipe(self.pipe("parenthesized pipeline", Kind::RightParen)?),
            Kind::String | Kind::RawString => What::String(unquoted(&text)?, text),
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Word { at: item.at, what }))
    }
}

/// A word as messages show it.
fn shown(item: &Item) -> String {
    match item.kind {
        Kind::End => "EOF".into(),
        Kind::Error => item.text.clone(),
        Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", item.text),
        _ if item.text.len() > 10 => {
            let begin: String = item.text.chars().take(10).collect();
            format!("{}...", quote(&begin))
        }
        _ => quote(&item.text),
    }
}

/// What a quoted text stands for.
fn unquoted(text: &str) -> Parsed<String> {
    if let Some(raw) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return Ok(raw.replace('\r', ""));
    }
    let mut out = Vec::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match escaped(&mut chars).ok_or("invalid syntax")? {
                Escaped::Char(c) => c,
                Escaped::Byte(byte) => {
                    out.push(byte);
                    continue;
                }
            },
            c => c,
        };
        out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

enum Escaped {
    Char(char),
    Byte(u8),
}

fn escaped(chars: &mut std::str::Chars) -> Option<Escaped> {
    let c = chars.next()?;
    let mut digits = |count: usize, base: u32, first: &str| {
        let digits: String = first.chars().chain(chars.take(count)).collect();
        u32::from_str_radix(&digits, base).ok()
    };
    Some(match c {
        'a' => Escaped::Char('\x07'),
        'b' => Escaped::Char('\x08'),
        'f' => Escaped::Char('\x0c'),
        'n' => Escaped::Char('\n'),
        'r' => Escaped::Char('\r'),
        't' => Escaped::Char('\t'),
        'v' => Escaped::Char('\x0b'),
        '\\' | '"' | '\'' => Escaped::Char(c),
        'x' => Escaped::Byte(u8::try_from(digits(2, 16, "")?).ok()?),
        'u' => Escaped::Char(char::from_u32(digits(4, 16, "")?)?),
        'U' => Escaped::Char(char::from_u32(digits(8, 16, "")?)?),
        '0'..='7' => Escaped::Byte(u8::try_from(digits(2, 8, &c.to_string())?).ok()?),
        _ => return None,
    })
}

fn number(text: &str) -> Parsed<Number> {
    let wrong = || format!("illegal number syntax: {}", quote(text));
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'').unwrap_or(inner);
        let mut chars = inner.chars();
        let c = match chars.next() {
            Some('\\') => match escaped(&mut chars) {
                Some(Escaped::Char(c)) => Some(c),
                Some(Escaped::Byte(byte)) => Some(char::from(byte)),
                None => None,
            },
            c => c,
        };
        return match (c, chars.next()) {
            (Some(c), None) => Ok(Number::Int(i64::from(u32::from(c)))),
            _ => Err(format!("malformed character constant: {text}")),
        };
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, whole) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1
            && lower.bytes().all(|b| b.is_ascii_digit())
            && lower.starts_with('0') =>
        {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    if let Ok(whole) = i128::from_str_radix(whole, base) {
        let signed = if negative { -whole } else { whole };
        return i64::try_from(signed)
            .map(Number::Int)
            .map_err(|_| format!("integer overflow: {}", quote(text)));
    }
    match plain.parse::<f64>() {
        // A float that is whole may stand for an integer, which it is not when it is given as it is.
        Ok(float) if base == 10 => Ok(Number::Float(float)),
        _ => Err(wrong()),
    }
}
