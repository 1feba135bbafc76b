//! The parser: recursive descent for what fits the grammar. What does not is told by [`super::recovery`], in a second walk.
//!
//! Invariant: nesting is bounded, so whoever walks a tree later may recurse. Follows upstream's
//! `vendor/github.com/google/cel-go/parser/{parser,helper}.go`.

use super::balance::balanced;
use super::ids::Ids;
use super::lexer::{self, Token, kind::*};
use super::numbers::{int, uint};
use super::{macros, recovery, unescape};
use crate::ast::{Ast, Entry, Expr, Field, Id, Kind, Literal, Name, op};
use crate::escape::is_reserved;
use crate::source::{Issues, NOWHERE, Source};
use std::borrow::Cow;
use std::sync::Arc;

/// How deep any rule of the grammar may stand in itself.
const MOST_DEPTH: usize = 250;
/// The longest text, in characters.
const MOST_CHARACTERS: usize = 100_000;

/// Why the descent ended.
enum Stop {
    /// The text does not fit the grammar.
    Syntax,
    TooDeep,
}
type Parsed<T = Expr> = Result<T, Stop>;

/// Parses a text; `bindings` says whether `cel.bind` is known.
pub fn parse(text: &str, bindings: bool) -> Result<(Ast, Source), Issues> {
    let source = Source::new(text);
    let mut issues = Issues::new(source.clone());
    if source.chars().len() > MOST_CHARACTERS {
        issues.push(
            NOWHERE,
            format!(
                "expression code point size exceeds limit: size: {}, limit {MOST_CHARACTERS}",
                source.chars().len()
            ),
        );
        return Err(issues);
    }
    let tokens = lexer::tokens(source.chars(), &mut issues);
    let mut parser = Parser {
        source: &source,
        tokens: &tokens,
        at: 0,
        depth: 0,
        ids: Ids::new(),
        issues,
        bindings,
    };
    let root = parser.start();
    let Parser {
        ids, mut issues, ..
    } = parser;
    let positions = ids.positions();
    match root {
        Ok(root) if issues.is_empty() => return Ok((Ast { root, positions }, source)),
        Ok(_) => {}
        Err(Stop::Syntax) => recovery::tell(&source, &tokens, &mut issues),
        Err(Stop::TooDeep) => issues.push(
            NOWHERE,
            format!("expression recursion limit exceeded: {MOST_DEPTH}"),
        ),
    }
    Err(issues)
}

pub struct Parser<'s> {
    source: &'s Source,
    tokens: &'s [Token],
    at: usize,
    depth: usize,
    ids: Ids,
    issues: Issues,
    bindings: bool,
}

impl Parser<'_> {
    fn id(&mut self, offset: u32) -> Id {
        self.ids.id(offset)
    }

    fn node(&mut self, offset: u32, kind: Kind) -> Expr {
        Expr {
            id: self.id(offset),
            kind,
        }
    }

    fn fault(&mut self, offset: u32, message: impl Into<String>) -> Expr {
        self.issues.push(offset, message);
        self.node(offset, Kind::Unspecified)
    }

    fn peek(&self) -> u8 {
        self.tokens[self.at].kind
    }

    fn peek_at(&self, ahead: usize) -> u8 {
        self.tokens.get(self.at + ahead).map_or(EOF, |t| t.kind)
    }

    fn offset_here(&self) -> u32 {
        self.tokens[self.at].start
    }

    /// Takes a token of a kind; its offset.
    fn take(&mut self, kind: u8) -> Parsed<u32> {
        if self.peek() != kind {
            return Err(Stop::Syntax);
        }
        let offset = self.offset_here();
        if kind != EOF {
            self.at += 1;
        }
        Ok(offset)
    }

    fn accept(&mut self, kind: u8) -> Option<u32> {
        self.take(kind).ok()
    }

    fn text(&self, token: Token) -> String {
        self.source.slice(token.start as usize, token.end as usize)
    }

    fn start(&mut self) -> Parsed {
        let root = self.expr()?;
        self.take(EOF)?;
        Ok(root)
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Stop::TooDeep);
        }
        let mut expr = self.binary(0)?;
        if let Some(offset) = self.accept(QUESTION) {
            expr = self.choice(expr, offset)?;
        }
        self.depth -= 1;
        Ok(expr)
    }

    /// `condition ? yes : no`, the question mark taken.
    fn choice(&mut self, condition: Expr, offset: u32) -> Parsed {
        let id = self.id(offset);
        let yes = self.binary(0)?;
        self.take(COLON)?;
        let no = self.expr()?;
        Ok(call(id, op::CONDITIONAL, vec![condition, yes, no]))
    }

    /// Operators that bind at least as tightly as `least`, left to right.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        // chains nest as deep as they are long
        let mut lengths = [self.depth + 1; 5];
        while let Some((binds, function)) = operator(self.peek()).filter(|(b, _)| *b >= least) {
            if binds <= BINDS_AND {
                left = self.logical(left, binds, function)?;
                continue;
            }
            let length = &mut lengths[usize::from(binds)];
            *length += 1;
            if *length > MOST_DEPTH {
                return Err(Stop::TooDeep);
            }
            let id = self.id(self.offset_here());
            self.at += 1;
            let right = self.binary(binds + 1)?;
            left = call(id, function, vec![left, right]);
        }
        Ok(left)
    }

    /// A chain of `||`, or of `&&`; its terms are put into a balanced tree.
    fn logical(&mut self, first: Expr, binds: u8, function: &'static str) -> Parsed {
        let kind = self.peek();
        let (mut terms, mut ops) = (vec![Some(first)], Vec::new());
        while let Some(offset) = self.accept(kind) {
            terms.push(Some(self.binary(binds + 1)?));
            ops.push(self.id(offset));
        }
        let last = ops.len() - 1;
        Ok(balanced(function, &mut terms, &ops, 0, last))
    }

    fn unary(&mut self) -> Parsed {
        let kind = self.peek();
        let literal = kind == MINUS && matches!(self.peek_at(1), INT | FLOAT);
        if literal || !matches!(kind, MINUS | EXCLAM) {
            return self.member();
        }
        let offset = self.offset_here();
        let mut count = 0;
        while self.accept(kind).is_some() {
            count += 1;
        }
        if count % 2 == 0 {
            return self.member();
        }
        let id = self.id(offset);
        let operand = self.member()?;
        let function = if kind == MINUS { op::NEGATE } else { op::NOT };
        Ok(call(id, function, vec![operand]))
    }

    fn member(&mut self) -> Parsed {
        let mut operand = self.primary()?;
        let mut length = 1;
        loop {
            match self.peek() {
                DOT => operand = self.selected(operand)?,
                LBRACKET => operand = self.indexed(operand)?,
                _ => return Ok(operand),
            }
            length += 1;
            if self.depth + length > MOST_DEPTH {
                return Err(Stop::TooDeep);
            }
        }
    }

    /// `.name`, `.?name` or `.name(..)`
    fn selected(&mut self, operand: Expr) -> Parsed {
        let dot = self.take(DOT)?;
        let optional = self.accept(QUESTION).is_some();
        let token = self.tokens[self.at];
        let field: Name = match token.kind {
            IDENTIFIER => self.text(token).into(),
            ESC_IDENTIFIER => {
                let offset = token.start;
                self.fault(offset, "unsupported syntax: '`'");
                "".into()
            }
            _ => return Err(Stop::Syntax),
        };
        self.at += 1;
        if !optional && token.kind == IDENTIFIER && self.peek() == LPAREN {
            let offset = self.take(LPAREN)?;
            let id = self.id(offset);
            let args = self.args()?;
            return Ok(self.call_or_macro(id, field, Some(operand), args));
        }
        if optional {
            let id = self.id(dot);
            let text = Kind::Literal(Literal::String(field.into()));
            let name = self.node(token.start, text);
            return Ok(call(id, op::OPT_SELECT, vec![operand, name]));
        }
        Ok(self.node(
            dot,
            Kind::Select {
                operand: Box::new(operand),
                field,
                test_only: false,
            },
        ))
    }

    fn indexed(&mut self, operand: Expr) -> Parsed {
        let offset = self.take(LBRACKET)?;
        let id = self.id(offset);
        let optional = self.accept(QUESTION).is_some();
        let index = self.expr()?;
        self.take(RBRACKET)?;
        let function = if optional { op::OPT_INDEX } else { op::INDEX };
        Ok(call(id, function, vec![operand, index]))
    }

    /// The arguments of a call whose opening parenthesis is taken.
    fn args(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.accept(RPAREN).is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.accept(COMMA).is_none() {
                self.take(RPAREN)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let offset = self.offset_here();
        match self.peek() {
            IDENTIFIER | DOT => self.named(),
            LPAREN => {
                self.at += 1;
                let inner = self.expr()?;
                self.take(RPAREN)?;
                Ok(inner)
            }
            LBRACKET => self.list(offset),
            LBRACE => {
                self.at += 1;
                let id = self.id(offset);
                let entries = self.separated(RBRACE, Self::entry)?;
                let kind = Kind::Map(entries);
                Ok(Expr { id, kind })
            }
            _ => self.literal(),
        }
    }

    fn list(&mut self, offset: u32) -> Parsed {
        self.at += 1;
        let id = self.id(offset);
        let both = self.separated(RBRACKET, |p| {
            let optional = p.accept(QUESTION).is_some();
            Ok((p.expr()?, optional))
        })?;
        let (elements, mut optional): (Vec<Expr>, Vec<bool>) = both.into_iter().unzip();
        if !optional.contains(&true) {
            optional.clear();
        }
        let kind = Kind::List { elements, optional };
        Ok(Expr { id, kind })
    }

    /// Items between commas, one of which may stand behind the last, up to and with `close`.
    fn separated<T>(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            if self.accept(close).is_some() {
                return Ok(items);
            }
            if items.is_empty() && self.peek() == COMMA {
                self.at += 1;
                self.take(close)?;
                return Ok(items);
            }
            items.push(item(self)?);
            if self.accept(COMMA).is_none() {
                self.take(close)?;
                return Ok(items);
            }
        }
    }

    fn entry(&mut self) -> Parsed<Entry> {
        let optional = self.accept(QUESTION).is_some();
        let key = self.expr()?;
        let colon = self.take(COLON)?;
        let id = self.id(colon);
        let value = self.expr()?;
        Ok(Entry {
            id,
            key,
            value,
            optional,
        })
    }

    /// A name, a call of a function, or a struct.
    fn named(&mut self) -> Parsed {
        let start = self.offset_here();
        let dotted = self.accept(DOT).is_some();
        if self.peek() != IDENTIFIER {
            return Err(Stop::Syntax);
        }
        if let Some(length) = self.struct_name() {
            return self.structure(dotted, length);
        }
        let token = self.tokens[self.at];
        self.at += 1;
        let text = self.text(token);
        let reserved = is_reserved(&text);
        let name: Name = if dotted {
            format!(".{text}").into()
        } else {
            text.clone().into()
        };
        if self.peek() == LPAREN {
            let offset = self.take(LPAREN)?;
            let id = self.id(offset);
            let args = self.args()?;
            if reserved {
                return Ok(self.fault(start, format!("reserved identifier: {text}")));
            }
            return Ok(self.call_or_macro(id, name, None, args));
        }
        if reserved {
            return Ok(self.fault(start, format!("reserved identifier: {text}")));
        }
        Ok(self.node(token.start, Kind::Ident(name)))
    }

    /// How many tokens `a.b.c` has, if `{` follows it.
    fn struct_name(&self) -> Option<usize> {
        let mut length = 1;
        while self.peek_at(length) == DOT && self.peek_at(length + 1) == IDENTIFIER {
            length += 2;
        }
        (self.peek_at(length) == LBRACE).then_some(length)
    }

    fn structure(&mut self, dotted: bool, length: usize) -> Parsed {
        let mut name = String::from(if dotted { "." } else { "" });
        for _ in 0..length {
            let token = self.tokens[self.at];
            name.push_str(&self.text(token));
            self.at += 1;
        }
        let offset = self.take(LBRACE)?;
        let id = self.id(offset);
        let fields = self.separated(RBRACE, |p| {
            let optional = p.accept(QUESTION).is_some();
            let token = p.tokens[p.at];
            match token.kind {
                IDENTIFIER => {}
                ESC_IDENTIFIER => {
                    p.fault(offset, "unsupported syntax: '`'");
                }
                _ => return Err(Stop::Syntax),
            }
            p.at += 1;
            let colon = p.take(COLON)?;
            Ok(Field {
                id: p.id(colon),
                name: p.text(token).into(),
                value: p.expr()?,
                optional,
            })
        })?;
        let name = Cow::Owned(name);
        let kind = Kind::Struct { name, fields };
        Ok(Expr { id, kind })
    }

    fn literal(&mut self) -> Parsed {
        let start = self.offset_here();
        let negative = self.accept(MINUS).is_some();
        let token = self.tokens[self.at];
        if negative && !matches!(token.kind, INT | FLOAT) {
            return Err(Stop::Syntax);
        }
        self.at += 1;
        let text = self.text(token);
        let value = match token.kind {
            TRUE => Some(Literal::Bool(true)),
            FALSE => Some(Literal::Bool(false)),
            NULL => Some(Literal::Null),
            INT => match int(&text, negative) {
                Some(value) => Some(Literal::Int(value)),
                None => return Ok(self.fault(start, "invalid int literal")),
            },
            UINT => match uint(&text[..text.len() - 1]) {
                Some(value) => Some(Literal::Uint(value)),
                None => return Ok(self.fault(start, "invalid uint literal")),
            },
            FLOAT => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => {
                    Some(Literal::Double(if negative { -value } else { value }))
                }
                _ => return Ok(self.fault(start, "invalid double literal")),
            },
            STRING => match unescape::string(&text) {
                Ok(value) => Some(Literal::String(value.into())),
                Err(error) => {
                    self.issues.push(start, error.to_string());
                    Some(Literal::String(text.into()))
                }
            },
            BYTES => match unescape::bytes(&text[1..]) {
                Ok(value) => Some(Literal::Bytes(value.into())),
                Err(error) => {
                    self.issues.push(start, error.to_string());
                    Some(Literal::Bytes(Arc::from(text.as_bytes())))
                }
            },
            _ => None,
        };
        match value {
            Some(value) => Ok(self.node(start, Kind::Literal(value))),
            None => {
                self.at -= 1;
                Err(Stop::Syntax)
            }
        }
    }

    fn call_or_macro(
        &mut self,
        id: Id,
        function: Name,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Expr {
        let found = macros::find(&function, args.len(), target.is_some(), self.bindings);
        if let Some(expand) = found
            && macros::concerns(&function, target.as_ref())
        {
            let offset = self.ids.offset(id);
            let mut maker = macros::Maker {
                ids: &mut self.ids,
                offset,
            };
            return match expand(&mut maker, macros::Call { id, target, args }) {
                Ok(expr) => expr,
                Err(misuse) => {
                    let offset = self.ids.offset(misuse.at);
                    self.fault(offset, misuse.message)
                }
            };
        }
        Expr {
            id,
            kind: Kind::Call {
                target: target.map(Box::new),
                function,
                args,
            },
        }
    }
}

/// How tightly `&&` binds; `||` binds less.
const BINDS_AND: u8 = 1;

/// How tightly an operator between two operands binds, and its function.
fn operator(kind: u8) -> Option<(u8, &'static str)> {
    Some(match kind {
        OR => (0, op::OR),
        AND => (BINDS_AND, op::AND),
        LESS => (2, op::LESS),
        LESS_EQUALS => (2, op::LESS_EQUALS),
        GREATER_EQUALS => (2, op::GREATER_EQUALS),
        GREATER => (2, op::GREATER),
        EQUALS => (2, op::EQUALS),
        NOT_EQUALS => (2, op::NOT_EQUALS),
        IN => (2, op::IN),
        PLUS => (3, op::ADD),
        MINUS => (3, op::SUBTRACT),
        STAR => (4, op::MULTIPLY),
        SLASH => (4, op::DIVIDE),
        PERCENT => (4, op::MODULO),
        _ => return None,
    })
}

fn call(id: Id, function: &'static str, args: Vec<Expr>) -> Expr {
    Expr {
        id,
        kind: Kind::Call {
            target: None,
            function: function.into(),
            args,
        },
    }
}
