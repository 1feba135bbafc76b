//! The tree of an expression as it was parsed, macros unfolded.
//!
//! Invariant: every node has an id of its own, and [`Ast::positions`] has a place for every id. Follows upstream's
//! `vendor/github.com/google/cel-go/common/ast/expr.go`.

use std::borrow::Cow;
use std::sync::Arc;

/// A name: of the program's own for what macros make, owned for what was written.
pub type Name = Cow<'static, str>;
/// What a node is known by, counted from 1.
pub type Id = u32;

/// The variable in which a macro collects its result. It cannot be written.
pub const ACCUMULATOR: &str = "@result";
/// Its older name, which may not be used for a variable of a macro.
pub const OLD_ACCUMULATOR: &str = "__result__";
/// The variable of a loop that is none: what binds a variable makes it.
pub const UNUSED: &str = "#unused";

/// The names of the operators as functions.
pub mod op {
    pub const CONDITIONAL: &str = "_?_:_";
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const EQUALS: &str = "_==_";
    pub const NOT_EQUALS: &str = "_!=_";
    pub const LESS: &str = "_<_";
    pub const LESS_EQUALS: &str = "_<=_";
    pub const GREATER: &str = "_>_";
    pub const GREATER_EQUALS: &str = "_>=_";
    pub const ADD: &str = "_+_";
    pub const SUBTRACT: &str = "_-_";
    pub const MULTIPLY: &str = "_*_";
    pub const DIVIDE: &str = "_/_";
    pub const MODULO: &str = "_%_";
    pub const NEGATE: &str = "-_";
    pub const INDEX: &str = "_[_]";
    pub const OPT_INDEX: &str = "_[?_]";
    pub const OPT_SELECT: &str = "_?._";
    pub const IN: &str = "@in";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Debug, Clone)]
pub struct Expr {
    pub id: Id,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    /// In place of what could not be parsed.
    Unspecified,
    Literal(Literal),
    Ident(Name),
    Select {
        operand: Box<Expr>,
        field: Name,
        /// `has(a.b)`: whether there is a value, not the value.
        test_only: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: Name,
        args: Vec<Expr>,
    },
    List {
        elements: Vec<Expr>,
        /// Which elements are written with `?`.
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Name,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub id: Id,
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub id: Id,
    pub name: Name,
    pub value: Expr,
    pub optional: bool,
}

/// A loop over a list or map: `accu` begins as `init`, becomes `step` for each element while `condition` holds, and `result` is the value.
#[derive(Debug, Clone)]
pub struct Comprehension {
    pub range: Expr,
    pub var: Name,
    /// The second variable: the value, where `var` is the index or key.
    pub var2: Option<Name>,
    pub accu: Name,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// A parsed expression.
#[derive(Debug, Clone)]
pub struct Ast {
    pub root: Expr,
    /// The offset of each id; 0 is of none.
    pub positions: Vec<u32>,
}

impl Ast {
    pub fn position(&self, id: Id) -> u32 {
        self.positions
            .get(id as usize)
            .copied()
            .unwrap_or(crate::source::NOWHERE)
    }
}

impl Expr {
    /// The nodes right below this one, in the order in which they were written.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Unspecified | Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => {
                target.as_deref().into_iter().chain(args.iter()).collect()
            }
            Kind::List { elements, .. } => elements.iter().collect(),
            Kind::Map(entries) => entries.iter().flat_map(|e| [&e.key, &e.value]).collect(),
            Kind::Struct { fields, .. } => fields.iter().map(|f| &f.value).collect(),
            Kind::Comprehension(c) => vec![&c.range, &c.init, &c.condition, &c.step, &c.result],
        }
    }

    /// `a.b.c` as one name, where it is nothing but names.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select {
                operand,
                field,
                test_only: false,
            } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }
}
