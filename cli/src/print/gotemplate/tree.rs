//! What a Go template is made of, and how messages show it.
//! Behaviour follows Go's `text/template/parse/node.go`.

use std::collections::BTreeMap;

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
