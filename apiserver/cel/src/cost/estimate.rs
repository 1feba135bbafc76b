//! What an expression costs at least and at most.
//!
//! Invariant: sizes of declared data come from their declarations, of all else from what the expression says; what is not known is without bound.
//! Follows upstream's `vendor/github.com/google/cel-go/checker/cost.go` and the size estimator of
//! `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/compilation.go`.

use super::calls::{self, Known};
use super::{LIST, MAP, Range, STRUCT};
use crate::ast::{ACCUMULATOR, Comprehension, Entry, Expr, Id, Kind, Literal, Name, op};
use crate::check::{Checked, Reference};
use crate::declared::Declared;
use crate::env::Env;
use crate::types::Type;
use crate::value::characters;
use std::collections::HashMap;

/// A way down from a variable: names of fields, and `@items`, `@keys`, `@values`.
type Path = Vec<Name>;

pub fn estimate(env: &Env, checked: &Checked, root: &Expr) -> Range {
    let mut coster = Coster {
        env,
        checked,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    coster.cost(root)
}

/// The sizes of the keys and values of a list or map.
#[derive(Clone, Copy)]
struct EntrySize {
    list: bool,
    key: Range,
    value: Range,
}

struct Local {
    name: Name,
    path: Path,
    size: Option<Range>,
    entry: Option<EntrySize>,
}

struct Coster<'a> {
    env: &'a Env,
    checked: &'a Checked,
    paths: HashMap<Id, Path>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, EntrySize>,
    locals: Vec<Local>,
}

/// Which variable of a loop is meant.
#[derive(Clone, Copy)]
enum Loop {
    /// The only one: elements of a list, keys of a map.
    Single,
    /// The first of two.
    Key,
    /// The second of two.
    Value,
}

impl<'a> Coster<'a> {
    fn ty(&self, expr: &Expr) -> &Type {
        self.checked.ty(expr)
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Unspecified | Kind::Literal(_) => Range::ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                Range::fixed(1)
            }
            Kind::Select {
                operand,
                field,
                test_only,
            } => {
                let sum = self.cost(operand);
                if *test_only {
                    return sum;
                }
                let looks = matches!(self.ty(operand), Type::Map(_) | Type::Object(_));
                let mut path = self.path(operand);
                path.push(field.clone());
                self.paths.insert(expr.id, path);
                sum.plus(Range::fixed(u64::from(looks)))
            }
            Kind::Call {
                target,
                function,
                args,
            } => self.call(expr, target.as_deref(), function, args),
            Kind::List { elements, .. } => self.list(expr, elements),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { fields, .. } => {
                let sum = fields
                    .iter()
                    .fold(Range::ZERO, |sum, field| sum.plus(self.cost(&field.value)));
                sum.plus(Range::fixed(STRUCT))
            }
            Kind::Comprehension(c) if is_bind(c) => self.bind(expr, c),
            Kind::Comprehension(c) => self.comprehension(expr, c),
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    /// The declared data at the end of a path. What begins with no variable begins with the first declared one, as upstream's does.
    fn declared(&self, path: &[Name]) -> Option<&Declared> {
        let (first, rest) = path.split_first()?;
        let mut at = self.env.root(first)?;
        for name in rest {
            at = match name.as_ref() {
                "@items" | "@values" => at.element()?,
                "@keys" => {
                    // the texts that are keys have no bound of their own
                    at.element()
                        .filter(|_| matches!(at.ty, Some(Type::Map(_))))?;
                    return Some(&KEYS);
                }
                field => at.field(field)?,
            };
        }
        Some(at)
    }

    fn declared_size(&self, path: &[Name]) -> Option<Range> {
        let declared = self.declared(path)?;
        Some(Range {
            min: 0,
            max: declared.max_elements,
        })
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = written_size(expr) {
            return Some(Range::fixed(size));
        }
        let path = self.path(expr);
        if let Some(size) = self.declared_size(&path) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(self.ty(expr)) {
            return Some(Range::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn entry(&self, expr: &Expr) -> Option<EntrySize> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entry,
            _ => None,
        }
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn set_entry(&mut self, expr: &Expr, entry: Option<EntrySize>) {
        if let Some(entry) = entry {
            self.entries.insert(expr.id, entry);
        }
    }

    fn list(&mut self, expr: &Expr, elements: &[Expr]) -> Range {
        let mut sum = Range::ZERO;
        let mut size = none_yet(elements.is_empty());
        for element in elements {
            sum = sum.plus(self.cost(element));
            size = size.or(self.size_or_unknown(element));
        }
        let entry = EntrySize {
            list: true,
            key: Range::fixed(1),
            value: size,
        };
        self.set_entry(expr, Some(entry));
        sum.plus(Range::fixed(LIST))
    }

    fn map(&mut self, expr: &Expr, entries: &[Entry]) -> Range {
        let mut sum = Range::ZERO;
        let (mut key, mut value) = (none_yet(entries.is_empty()), none_yet(entries.is_empty()));
        for entry in entries {
            sum = sum.plus(self.cost(&entry.key));
            sum = sum.plus(self.cost(&entry.value));
            key = key.or(self.size_or_unknown(&entry.key));
            value = value.or(self.size_or_unknown(&entry.value));
        }
        let entry = EntrySize {
            list: false,
            key,
            value,
        };
        self.set_entry(expr, Some(entry));
        sum.plus(Range::fixed(MAP))
    }

    fn known<'e>(&mut self, expr: &'e Expr) -> Known<'e>
    where
        'a: 'e,
    {
        let size = self.size(expr);
        let mut path = self.path(expr);
        let elements = if path.is_empty() || path[0] == ACCUMULATOR {
            None
        } else {
            path.push("@items".into());
            self.declared_size(&path)
        };
        let checked = self.checked;
        Known {
            ty: checked.ty(expr),
            expr,
            size,
            elements,
        }
    }

    fn call(
        &mut self,
        expr: &Expr,
        target: Option<&Expr>,
        function: &Name,
        args: &[Expr],
    ) -> Range {
        if function == "dyn"
            && let [arg] = args
        {
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.plus(Range::fixed(1));
        }
        let mut costs = Vec::with_capacity(args.len());
        let mut known = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            known.push(self.known(arg));
        }
        let ids: Vec<&str> = match self.checked.reference(expr) {
            Reference::Call {
                function,
                overloads,
            } => overloads
                .iter()
                .map(|at| &*function.overloads[*at].id)
                .collect(),
            _ if function == op::OPT_SELECT => vec!["select_optional_field"],
            _ => return Range::ZERO,
        };
        let mut sum = Range::ZERO;
        let receiver = target.map(|target| {
            sum = self.cost(target);
            self.known(target)
        });
        let mut total = none_yet(false);
        let mut size: Option<Range> = None;
        for id in ids {
            let (cost, result) =
                self.overload(expr, (function, id), receiver.as_ref(), &known, &costs);
            total = total.or(cost);
            if let Some(result) = result {
                size = Some(size.map_or(result, |size| size.or(result)));
            }
            if let ("index_list" | "index_map", Some(operand)) = (id, args.first()) {
                size = self.element_of(expr, operand, id == "index_list");
            }
            if size.is_none() {
                size = self.size(expr);
            }
        }
        self.set_size(expr, size);
        sum.plus(total)
    }

    /// What is found in a list or map: it leads on from there, and is as large as what is there.
    fn element_of(&mut self, expr: &Expr, operand: &Expr, list: bool) -> Option<Range> {
        let mut path = self.path(operand);
        path.push(if list { "@items" } else { "@values" }.into());
        self.paths.insert(expr.id, path);
        self.entry(operand).map(|entry| entry.value)
    }

    /// The cost of one overload with its arguments, and the size of its result.
    fn overload(
        &mut self,
        expr: &Expr,
        (function, id): (&str, &str),
        target: Option<&Known<'_>>,
        args: &[Known<'_>],
        costs: &[Range],
    ) -> (Range, Option<Range>) {
        let all = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
        match (id, args) {
            ("logical_and" | "logical_or", [_, _]) => {
                let max = costs[0].plus(costs[1]).max;
                let min = costs[0].min;
                return (Range { min, max }, None);
            }
            ("conditional", [_, yes, no]) => {
                let unknown = |known: &Known<'_>| known.size.unwrap_or(Range::UNKNOWN);
                let size = unknown(yes).or(unknown(no));
                let entry = union(self.entry(yes.expr), self.entry(no.expr));
                self.set_entry(expr, entry);
                return (costs[0].plus(costs[1].or(costs[2])), Some(size));
            }
            ("add_list" | "add_string" | "add_bytes", [left, right]) => {
                let entry = union(self.entry(left.expr), self.entry(right.expr));
                self.set_entry(expr, entry);
            }
            _ => {}
        }
        let estimate = calls::estimate(function, id, target, args);
        (estimate.cost.plus(all), estimate.result)
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        let (size, entry) = (self.size(from), self.entry(from));
        self.set_size(to, size);
        self.set_entry(to, entry);
    }

    fn push_bound(&mut self, name: &Name, expr: &Expr) {
        let (path, entry) = (self.path(expr), self.entry(expr));
        let size = self.size(expr);
        self.locals.push(Local {
            name: name.clone(),
            path,
            size,
            entry,
        });
    }

    fn push_loop(&mut self, name: &Name, range: &Expr, which: Loop) {
        let entry = self.entry(range);
        let list = match entry {
            Some(entry) => entry.list,
            None => matches!(self.ty(range), Type::List(_)),
        };
        let (value, part) = match (which, list) {
            (Loop::Single, true) | (Loop::Value, true) => (true, "@items"),
            (Loop::Single, false) | (Loop::Key, false) => (false, "@keys"),
            (Loop::Key, true) => (false, "@indices"),
            (Loop::Value, false) => (true, "@values"),
        };
        let mut path = self.path(range);
        path.push(part.into());
        self.locals.push(Local {
            name: name.clone(),
            path,
            size: entry.map(|entry| if value { entry.value } else { entry.key }),
            entry: None,
        });
    }

    fn bind(&mut self, expr: &Expr, c: &Comprehension) -> Range {
        let mut sum = self.cost(&c.range);
        sum = sum.plus(self.cost(&c.init));
        self.push_bound(&c.accu, &c.init);
        sum = sum.plus(self.cost(&c.result));
        self.locals.pop();
        self.copy_sizes(expr, &c.result);
        sum
    }

    fn comprehension(&mut self, expr: &Expr, c: &Comprehension) -> Range {
        let mut sum = self.cost(&c.range);
        sum = sum.plus(self.cost(&c.init));
        self.push_bound(&c.accu, &c.init);
        let outer = self.locals.len();
        match &c.var2 {
            Some(var2) => {
                self.push_loop(&c.var, &c.range, Loop::Key);
                self.push_loop(var2, &c.range, Loop::Value);
            }
            None => self.push_loop(&c.var, &c.range, Loop::Single),
        }
        let condition = self.cost(&c.condition);
        let step = self.cost(&c.step);
        self.locals.truncate(outer);
        sum = sum.plus(self.cost(&c.result));
        self.locals.pop();
        let count = self.size_or_unknown(&c.range);
        sum = sum.plus(count.times(step.plus(condition)));
        match &c.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&c.init);
                self.set_size(expr, size);
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.set_size(expr, Some(count));
                let entry = self.entry(&c.step);
                self.set_entry(expr, entry);
            }
            _ => {}
        }
        sum
    }
}

/// What texts that are keys of maps are declared as.
static KEYS: std::sync::LazyLock<Declared> = std::sync::LazyLock::new(|| Declared::string(0));

/// The range to which sizes are added: none seen yet.
fn none_yet(empty: bool) -> Range {
    Range {
        min: if empty { 0 } else { u64::MAX },
        max: 0,
    }
}

fn union(a: Option<EntrySize>, b: Option<EntrySize>) -> Option<EntrySize> {
    let (a, b) = (a?, b?);
    Some(EntrySize {
        list: a.list,
        key: a.key.or(b.key),
        value: a.value.or(b.value),
    })
}

fn is_bind(c: &Comprehension) -> bool {
    matches!(&c.range.kind, Kind::List { elements, .. } if elements.is_empty())
        && matches!(c.condition.kind, Kind::Literal(Literal::Bool(false)))
}

/// The size that an expression says itself.
fn written_size(expr: &Expr) -> Option<u64> {
    Some(match &expr.kind {
        Kind::Literal(Literal::String(text)) => characters(text) as u64,
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List { elements, .. } => elements.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        other => other.optional_of().is_some_and(is_scalar),
    }
}
