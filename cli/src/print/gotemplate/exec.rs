//! A Go template, filled in.
//! Invariant: what fails is told with the place in the template and the words of it that failed; what was written before stays written.
//! Behaviour follows Go's `text/template/exec.go`.

use super::funcs::{self, Arg};
use super::tree::{Branch, Call, Command, List, Node, Number, Pipe, Tree, What, Word};
use crate::error::quote;
use serde_json::{Map, Value};

/// A value while a template is filled in.
#[derive(Clone, Debug)]
pub enum Go<'a> {
    /// What is not there.
    Missing,
    Nil,
    Bool(bool),
    /// A number of the template's own is an `int`, one of the object's an `int64`.
    Int(i64, &'static str),
    Float(f64),
    Text(String),
    List(&'a [Value]),
    Map(&'a Map<String, Value>),
}

impl<'a> Go<'a> {
    pub fn of(value: &'a Value) -> Go<'a> {
        match value {
            Value::Null => Go::Nil,
            Value::Bool(on) => Go::Bool(*on),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Go::Int(whole, "int64"),
                None => Go::Float(number.as_f64().unwrap_or(0.0)),
            },
            Value::String(text) => Go::Text(text.clone()),
            Value::Array(list) => Go::List(list),
            Value::Object(map) => Go::Map(map),
        }
    }

    /// Go's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Go::Missing | Go::Nil => "<nil>",
            Go::Bool(_) => "bool",
            Go::Int(_, name) => name,
            Go::Float(_) => "float64",
            Go::Text(_) => "string",
            Go::List(_) => "[]interface {}",
            Go::Map(_) => "map[string]interface {}",
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Go::Missing | Go::Nil => false,
            Go::Bool(on) => *on,
            Go::Int(number, _) => *number != 0,
            Go::Float(number) => *number != 0.0,
            Go::Text(text) => !text.is_empty(),
            Go::List(list) => !list.is_empty(),
            Go::Map(map) => !map.is_empty(),
        }
    }
}

/// A value, and whether it was taken out of a list or map, where Go knows of its type only that it has one.
#[derive(Clone)]
struct Found<'a> {
    value: Go<'a>,
    inside: bool,
}

fn plain(value: Go<'_>) -> Found<'_> {
    Found {
        value,
        inside: false,
    }
}

/// Why it was not filled in to the end.
enum Stop {
    Failed(String),
    Break,
    Continue,
}

/// Where in the template something fails: its byte, and the words there.
#[derive(Clone)]
struct Place {
    at: usize,
    shown: String,
}

type Done<T> = Result<T, Stop>;

struct State<'a, 't> {
    text: &'t str,
    tree: &'t Tree,
    name: &'t str,
    strict: bool,
    out: &'t mut String,
    variables: Vec<(String, Found<'a>)>,
    place: Place,
    depth: usize,
}

/// Fills in a template; `strict`: a field that is not there is an error.
///
/// # Errors
/// What Go says of the failure; `out` has what was written before.
pub fn execute(
    text: &str,
    tree: &Tree,
    object: &Value,
    strict: bool,
    out: &mut String,
) -> Result<(), String> {
    let dot = plain(Go::of(object));
    let mut state = State {
        text,
        tree,
        name: "output",
        strict,
        out,
        variables: vec![("$".into(), dot.clone())],
        place: Place {
            at: 0,
            shown: String::new(),
        },
        depth: 0,
    };
    match state.list(&dot, &tree.main) {
        Err(Stop::Failed(why)) => Err(why),
        _ => Ok(()),
    }
}

impl<'a> State<'a, '_> {
    fn fail<T>(&self, why: impl std::fmt::Display) -> Done<T> {
        let Place { at, shown } = &self.place;
        let before = &self.text[..*at];
        let line = before.matches('\n').count() + 1;
        let column = before.rfind('\n').map_or(*at, |newline| at - newline - 1);
        Err(Stop::Failed(format!(
            "template: output:{line}:{column}: executing {} at <{shown}>: {why}",
            quote(self.name)
        )))
    }

    fn stand_at(&mut self, at: usize, shown: String) {
        self.place = Place { at, shown };
    }

    fn list(&mut self, dot: &Found<'a>, list: &List) -> Done<()> {
        for node in list {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&funcs::printed(&value.value));
                    }
                }
                Node::If(branch) | Node::With(branch) => {
                    self.branch(dot, branch, matches!(node, Node::With(_)))?
                }
                Node::Range(branch) => self.range(dot, branch)?,
                Node::Template(call) => self.call(dot, call)?,
                Node::Break => return Err(Stop::Break),
                Node::Continue => return Err(Stop::Continue),
            }
        }
        Ok(())
    }

    fn branch(&mut self, dot: &Found<'a>, branch: &Branch, sets_dot: bool) -> Done<()> {
        let known = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let done = match (value.value.is_true(), &branch.other) {
            (true, _) if sets_dot => self.list(&value, &branch.list),
            (true, _) => self.list(dot, &branch.list),
            (false, Some(other)) => self.list(dot, other),
            (false, None) => Ok(()),
        };
        self.variables.truncate(known);
        done
    }

    fn range(&mut self, dot: &Found<'a>, branch: &Branch) -> Done<()> {
        let known = self.variables.len();
        let pipe = &branch.pipe;
        self.stand_at(pipe.at, pipe.shown());
        let over = self.pipe(dot, pipe)?.value;
        let inside = |value| Found {
            value: Go::of(value),
            inside: true,
        };
        let number = |at: usize| plain(Go::Int(i64::try_from(at).unwrap_or(i64::MAX), "int"));
        let all: Vec<(Found, Found)> = match over {
            Go::List(list) => {
                let all = list.iter().enumerate();
                all.map(|(at, value)| (number(at), inside(value))).collect()
            }
            Go::Map(map) => {
                let mut all: Vec<_> = map.iter().collect();
                all.sort_by_key(|(key, _)| *key);
                let key = |key: &String| plain(Go::Text(key.clone()));
                all.into_iter().map(|(k, v)| (key(k), inside(v))).collect()
            }
            Go::Int(count, name) => {
                if pipe.variables.len() > 1 {
                    return self.fail(format!(
                        "can't use {count} to iterate over more than one variable"
                    ));
                }
                let one = |at| plain(Go::Int(at, name));
                (0..count).map(|at| (one(at), one(at))).collect()
            }
            Go::Missing | Go::Nil => vec![],
            other => {
                self.stand_at(pipe.at, pipe.shown());
                return self.fail(format!(
                    "range can't iterate over {}",
                    funcs::printed(&other)
                ));
            }
        };
        let looked_at = !all.is_empty();
        let within = self.variables.len();
        for (key, value) in all {
            match pipe.variables.as_slice() {
                [] => {}
                [one] => self.set(one, value.clone(), pipe.assigns),
                [first, second, ..] => {
                    self.set(first, key, pipe.assigns);
                    self.set(second, value.clone(), pipe.assigns);
                }
            }
            let done = self.list(&value, &branch.list);
            self.variables.truncate(within);
            match done {
                Err(Stop::Break) => break,
                Ok(()) | Err(Stop::Continue) => {}
                failed => return failed,
            }
        }
        if !looked_at && let Some(other) = &branch.other {
            self.list(dot, other)?;
        }
        self.variables.truncate(known);
        Ok(())
    }

    /// Gives a variable a value: a pipe of `range` has set it to the whole before.
    fn set(&mut self, name: &str, value: Found<'a>, assigns: bool) {
        let mut known = self.variables.iter_mut().rev();
        match known.find(|(known, _)| known == name) {
            Some((_, kept)) if assigns => *kept = value,
            _ => self.variables.push((name.into(), value)),
        }
    }

    fn call(&mut self, dot: &Found<'a>, call: &Call) -> Done<()> {
        self.stand_at(call.at, call.shown());
        let tree = self.tree;
        let Some((name, list)) = tree.defined.get_key_value(&call.name) else {
            return self.fail(format!("template {} not defined", quote(&call.name)));
        };
        if self.depth == 1000 {
            return self.fail("exceeded maximum template depth (100000)");
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => plain(Go::Missing),
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), dot.clone())]);
        let caller = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        let done = self.list(&dot, list);
        self.depth -= 1;
        (self.variables, self.name) = (outer, caller);
        done
    }

    fn pipe(&mut self, dot: &Found<'a>, pipe: &Pipe) -> Done<Found<'a>> {
        self.stand_at(pipe.at, pipe.shown());
        let mut value = None;
        for command in &pipe.commands {
            let mut made = self.command(dot, command, value)?;
            made.inside = false;
            value = Some(made);
        }
        let value = value.unwrap_or(plain(Go::Missing));
        for name in &pipe.variables {
            self.set(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Found<'a>,
        command: &Command,
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let first = &command.words[0];
        if let What::Function(name) = &first.what {
            self.stand_at(first.at, first.shown());
            return self.function(dot, name, Some(command), first, last);
        }
        let has_args = command.words.len() > 1 || last.is_some();
        if !matches!(first.what, What::Pipe(_)) {
            self.stand_at(first.at, first.shown());
        }
        if has_args {
            let path = match &first.what {
                What::Field(path) => Some((dot.clone(), path.as_slice())),
                What::Variable(path) if path.len() > 1 => {
                    Some((self.variable(&path[0]), &path[1..]))
                }
                _ => None,
            };
            let Some((from, path)) = path else {
                return self.fail(format!(
                    "can't give argument to non-function {}",
                    first.shown()
                ));
            };
            let last = path.last().map_or("", String::as_str);
            self.fields(from, &path[..path.len() - 1])?;
            return self.fail(format!("{last} is not a method but has arguments"));
        }
        if matches!(first.what, What::Nil) {
            return self.fail("nil is not a command");
        }
        self.word(dot, first)
    }

    /// What an operand is.
    fn word(&mut self, dot: &Found<'a>, word: &Word) -> Done<Found<'a>> {
        self.stand_at(word.at, word.shown());
        match &word.what {
            What::Dot => Ok(dot.clone()),
            What::Nil => Ok(plain(Go::Nil)),
            What::Bool(on) => Ok(plain(Go::Bool(*on))),
            What::Number(Number::Int(number), _) => Ok(plain(Go::Int(*number, "int"))),
            What::Number(Number::Float(number), _) => Ok(plain(Go::Float(*number))),
            What::String(text, _) => Ok(plain(Go::Text(text.clone()))),
            What::Field(path) => self.fields(dot.clone(), path),
            What::Variable(path) => {
                let value = self.variable(&path[0]);
                self.fields(value, &path[1..])
            }
            What::Pipe(pipe) => self.pipe(dot, pipe),
            What::Chain(inner, path) => {
                let value = self.word(dot, inner)?;
                self.stand_at(word.at, word.shown());
                self.fields(value, path)
            }
            What::Function(name) => self.function(dot, name, None, word, None),
        }
    }

    fn variable(&self, name: &str) -> Found<'a> {
        let mut known = self.variables.iter().rev();
        let found = known.find(|(known, _)| known == name);
        found.map_or(plain(Go::Missing), |(_, value)| value.clone())
    }

    /// The field at the end of a path.
    fn fields(&mut self, mut value: Found<'a>, path: &[String]) -> Done<Found<'a>> {
        for name in path {
            let kind = if value.inside {
                "interface {}"
            } else {
                value.value.type_name()
            };
            value = match value.value {
                Go::Missing if self.strict => {
                    return self.fail(format!("nil data; no entry for key {}", quote(name)));
                }
                Go::Missing => plain(Go::Missing),
                Go::Nil if value.inside => {
                    return self.fail(format!("nil pointer evaluating interface {{}}.{name}"));
                }
                Go::Nil => plain(Go::Missing),
                Go::Map(map) => match map.get(name) {
                    Some(found) => Found {
                        value: Go::of(found),
                        inside: true,
                    },
                    None if self.strict => {
                        return self.fail(format!("map has no entry for key {}", quote(name)));
                    }
                    None => plain(Go::Missing),
                },
                _ => return self.fail(format!("can't evaluate field {name} in type {kind}")),
            };
        }
        Ok(value)
    }

    fn function(
        &mut self,
        dot: &Found<'a>,
        name: &str,
        command: Option<&Command>,
        word: &Word,
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let words: &[Word] = command.map_or(&[], |command| &command.words[1..]);
        let count = words.len() + usize::from(last.is_some());
        let (least, most) = funcs::arity(name);
        if count < least || most.is_some_and(|most| count > most) {
            return self.fail(match most {
                Some(most) => format!("wrong number of args for {name}: want {most} got {count}"),
                None => format!(
                    "wrong number of args for {name}: want at least {least} got {}",
                    words.len()
                ),
            });
        }
        if matches!(name, "and" | "or") {
            return self.either(dot, name == "or", words, last);
        }
        let mut args: Vec<Arg<'a>> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let value = self.word(dot, word)?.value;
            self.takes_text(name, at, &value, Some(word))?;
            args.push(Arg {
                value,
                shown: word.shown(),
            });
        }
        if let Some(last) = last {
            self.takes_text(name, args.len(), &last.value, None)?;
            args.push(Arg {
                value: last.value,
                shown: String::new(),
            });
        }
        let made = funcs::call(name, &args);
        let (at, shown) = match command {
            Some(command) => (command.at, command.shown()),
            None => (word.at, word.shown()),
        };
        self.stand_at(at, shown);
        match made {
            Ok(value) => Ok(plain(value)),
            Err(why) => self.fail(format!("error calling {name}: {why}")),
        }
    }

    /// The arguments that are texts must be.
    fn takes_text(&mut self, name: &str, at: usize, value: &Go, word: Option<&Word>) -> Done<()> {
        if at != 0 || !matches!(name, "printf" | "base64decode") {
            return Ok(());
        }
        match (value, word.map(|word| &word.what)) {
            (Go::Text(_), _) => Ok(()),
            (_, Some(What::Bool(_) | What::Number(..) | What::Dot | What::Nil)) => {
                let shown = word.map_or(String::new(), Word::shown);
                match word.map(|word| &word.what) {
                    Some(What::Nil) => self.fail("cannot assign nil to string"),
                    Some(What::Dot) => self.fail(format!(
                        "wrong type for value; expected string; got {}",
                        value.type_name()
                    )),
                    _ => self.fail(format!("expected string; found {shown}")),
                }
            }
            (Go::Missing | Go::Nil, _) => self.fail("invalid value; expected string"),
            (value, _) => self.fail(format!(
                "wrong type for value; expected string; got {}",
                value.type_name()
            )),
        }
    }

    /// `and` and `or`, which look at no more than they need.
    fn either(
        &mut self,
        dot: &Found<'a>,
        wanted: bool,
        words: &[Word],
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let mut value = plain(Go::Missing);
        for word in words {
            value = plain(self.word(dot, word)?.value);
            if value.value.is_true() == wanted {
                return Ok(value);
            }
        }
        Ok(last.map_or(value, |last| plain(last.value)))
    }
}
