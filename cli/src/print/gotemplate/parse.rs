//! Reads a Go template.
//! Invariant: every mistake that Go finds when it reads a template is found here, in Go's words.
//! Behaviour follows Go's `text/template/parse/parse.go`.

use std::collections::BTreeMap;

use super::{
    lex::{Item, Kind, items},
    literals::{number, unquoted},
    tree::{Branch, Call, Command, List, Node, Pipe, Tree, What, Word},
};
use crate::error::quote;

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
