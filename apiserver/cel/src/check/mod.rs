//! The checker: which type each node has, and which overloads each call may mean.
//!
//! Invariant: of a tree without faults every node has a type, in which nothing is unknown, and every call its overloads.
//! Follows upstream's `vendor/github.com/google/cel-go/checker/checker.go`, its words (`errors.go`) included.

mod literals;
mod unify;

pub use literals::validate;

use crate::ast::{Ast, Comprehension, Entry, Expr, Id, Kind, Literal, Name, op};
use crate::env::Env;
use crate::escape;
use crate::function::Function;
use crate::source::Issues;
use crate::types::{Fields, Type};
use std::sync::Arc;
use unify::Substitutions;

/// What the checker found out of a tree.
pub struct Checked {
    /// By id.
    pub types: Vec<Type>,
    /// By id.
    pub references: Vec<Reference>,
}

/// What a node means.
#[derive(Clone, Default)]
pub enum Reference {
    #[default]
    None,
    /// A variable, of the environment or of a loop.
    Variable,
    /// A name of a type.
    Type(Type),
    /// A function, and which of its overloads fit.
    Call {
        function: Arc<Function>,
        overloads: Vec<usize>,
    },
}

impl Checked {
    pub fn ty(&self, expr: &Expr) -> &Type {
        self.types.get(expr.id as usize).unwrap_or(&Type::Dyn)
    }

    pub fn reference(&self, expr: &Expr) -> &Reference {
        self.references
            .get(expr.id as usize)
            .unwrap_or(&Reference::None)
    }
}

/// Checks a tree; names in it that mean something as a whole (`net.IP`) become one node.
pub fn check(env: &Env, ast: &mut Ast, issues: &mut Issues) -> Checked {
    let count = ast.positions.len();
    let mut checker = Checker {
        env,
        positions: &ast.positions,
        issues,
        types: vec![Type::Error; count],
        references: vec![Reference::None; count],
        substitutions: Substitutions::default(),
        scopes: Vec::new(),
    };
    checker.check(&mut ast.root);
    let Checker {
        mut types,
        references,
        substitutions,
        ..
    } = checker;
    for ty in &mut types {
        *ty = substitutions.apply(ty, true);
    }
    Checked { types, references }
}

struct Checker<'a> {
    env: &'a Env,
    positions: &'a [u32],
    issues: &'a mut Issues,
    types: Vec<Type>,
    references: Vec<Reference>,
    substitutions: Substitutions,
    /// The variables of the loops around, the innermost last.
    scopes: Vec<(Name, Type)>,
}

/// What a name means.
enum Meaning {
    Variable(Type),
    Type(Type),
}

impl Checker<'_> {
    fn fault(&mut self, id: Id, message: String) {
        let offset = self.positions[id as usize];
        self.issues.push(offset, message);
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.fault(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.fault(
            id,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn ty(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone()
    }

    fn set(&mut self, id: Id, ty: Type) {
        self.types[id as usize] = ty;
    }

    fn known(&self, ty: &Type) -> Type {
        self.substitutions.apply(ty, false)
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return Some(Meaning::Variable(ty.clone()));
        }
        if let Some(variable) = self.env.variable(name) {
            return Some(Meaning::Variable(variable.ty.clone()));
        }
        self.env.type_named(name).map(Meaning::Type)
    }

    fn set_meaning(&mut self, id: Id, meaning: Meaning) {
        let (ty, reference) = match meaning {
            Meaning::Variable(ty) => (ty, Reference::Variable),
            Meaning::Type(ty) => (Type::type_of(ty.clone()), Reference::Type(ty)),
        };
        self.set(id, ty);
        self.references[id as usize] = reference;
    }

    fn check(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            Kind::Unspecified => self.fault(id, "unexpected unspecified type: Expr".into()),
            Kind::Literal(literal) => {
                let ty = literal_type(literal);
                self.set(id, ty);
            }
            Kind::Ident(name) => match self.meaning(name) {
                Some(meaning) => {
                    if let Some(rest) = name.strip_prefix('.') {
                        *name = rest.to_owned().into();
                    }
                    self.set_meaning(id, meaning);
                }
                None => {
                    let name = name.to_string();
                    self.undeclared(id, &name);
                }
            },
            Kind::Select { .. } => self.check_select(expr),
            Kind::Call {
                target,
                function,
                args,
            } => self.check_call(id, target, function, args),
            Kind::List { elements, optional } => {
                let mut of = None;
                for (i, element) in elements.iter_mut().enumerate() {
                    self.check(element);
                    let optional = optional.get(i).copied().unwrap_or(false);
                    let ty = self.initial(element, optional);
                    of = Some(self.join(of, ty));
                }
                let of = of.unwrap_or_else(|| self.substitutions.fresh());
                self.set(id, Type::list(of));
            }
            Kind::Map(entries) => {
                let ty = self.check_map(entries);
                self.set(id, ty);
            }
            Kind::Struct { .. } => self.check_struct(expr),
            Kind::Comprehension(comprehension) => {
                let ty = self.check_comprehension(comprehension);
                self.set(id, ty);
            }
        }
    }

    /// The type of an element or value; of one that is written with `?` what is in the optional.
    fn initial(&mut self, expr: &Expr, optional: bool) -> Type {
        let ty = self.ty(expr);
        if !optional {
            return ty;
        }
        match ty.optional_of() {
            Some(of) => of.clone(),
            None => {
                if !ty.is_dyn() {
                    self.mismatch(expr.id, &Type::optional(ty.clone()), &ty);
                }
                ty
            }
        }
    }

    fn check_map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&mut entry.key);
            let ty = self.ty(&entry.key);
            keys = Some(self.join(keys, ty));
            self.check(&mut entry.value);
            let ty = self.initial(&entry.value, entry.optional);
            values = Some(self.join(values, ty));
        }
        let key = keys.unwrap_or_else(|| self.substitutions.fresh());
        let value = values.unwrap_or_else(|| self.substitutions.fresh());
        Type::map(key, value)
    }

    /// The type that takes what was before and what comes now: `dyn` where they differ (the validator refuses that of literals).
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        match previous {
            None => current,
            Some(previous) if self.substitutions.assignable(&previous, &current) => {
                unify::most_general(&previous, &current)
            }
            Some(_) => Type::Dyn,
        }
    }

    fn check_select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        if let Some(name) = expr.qualified_name()
            && let Some(meaning) = self.meaning(&name)
        {
            self.set_meaning(id, meaning);
            expr.kind = Kind::Ident(name.into());
            return;
        }
        let Kind::Select {
            operand,
            field,
            test_only,
        } = &mut expr.kind
        else {
            return;
        };
        let found = self.field(id, operand, field, false);
        let ty = if *test_only { Type::Bool } else { found };
        self.set(id, ty);
    }

    /// The type of a field of what `operand` is.
    fn field(&mut self, id: Id, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand = self.known(&self.ty(operand));
        let inner = operand.optional_of();
        let target = inner.unwrap_or(&operand);
        let found = match target {
            Type::Map(of) => of.1.clone(),
            Type::Object(object) => match &object.fields {
                Fields::None => {
                    self.fault(
                        id,
                        format!("unexpected failed resolution of '{}'", object.name),
                    );
                    Type::Error
                }
                Fields::Named(_) | Fields::Any => {
                    let mut found = object.field(field);
                    if found.is_none() && escape::is_reserved(field) {
                        // a word that is reserved may be written as it is behind a dot
                        found = object.field(&format!("__{field}__"));
                    }
                    found.unwrap_or_else(|| {
                        self.fault(id, format!("undefined field '{field}'"));
                        Type::Error
                    })
                }
            },
            Type::Var(_) => {
                self.substitutions.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            _ => {
                if !target.is_dyn_or_error() {
                    self.fault(
                        id,
                        format!("type '{target}' does not support field selection"),
                    );
                }
                Type::Dyn
            }
        };
        let found = if inner.is_some() || optional {
            Type::optional(found)
        } else {
            found
        };
        self.known(&found)
    }

    fn check_call(
        &mut self,
        id: Id,
        target: &mut Option<Box<Expr>>,
        function: &mut Name,
        args: &mut [Expr],
    ) {
        if function == op::OPT_SELECT
            && let [operand, name] = args
            && let Kind::Literal(Literal::String(field)) = &name.kind
        {
            let field = Arc::clone(field);
            let ty = self.field(id, operand, &field, true);
            self.set(name.id, Type::String);
            self.set(id, ty);
            return;
        }
        for arg in args.iter_mut() {
            self.check(arg);
        }
        let Some(receiver) = target else {
            match self.env.function(function).cloned() {
                Some(found) => {
                    let args: Vec<&Expr> = args.iter().collect();
                    self.resolve(id, &found, false, &args);
                }
                None => {
                    let name = function.to_string();
                    self.undeclared(id, &name);
                }
            }
            return;
        };
        if let Some(prefix) = receiver.qualified_name()
            && let Some(found) = self.env.function(&format!("{prefix}.{function}")).cloned()
        {
            *function = found.name.clone();
            *target = None;
            let args: Vec<&Expr> = args.iter().collect();
            self.resolve(id, &found, false, &args);
            return;
        }
        self.check(receiver);
        match self.env.function(function).cloned() {
            Some(found) => {
                let args: Vec<&Expr> = std::iter::once(&**receiver).chain(args.iter()).collect();
                self.resolve(id, &found, true, &args);
            }
            None => {
                let name = function.to_string();
                self.undeclared(id, &name);
            }
        }
    }

    /// Finds the overloads that take the arguments.
    fn resolve(&mut self, id: Id, function: &Arc<Function>, member: bool, args: &[&Expr]) {
        let types: Vec<Type> = args.iter().map(|arg| self.ty(arg)).collect();
        if function.name == op::AND || function.name == op::OR {
            let mut fits = true;
            for (arg, ty) in args.iter().zip(&types) {
                if !self.substitutions.assignable(ty, &Type::Bool) {
                    self.mismatch(arg.id, &Type::Bool, ty);
                    fits = false;
                }
            }
            if fits {
                self.set(id, Type::Bool);
                self.references[id as usize] = Reference::Call {
                    function: Arc::clone(function),
                    overloads: vec![0],
                };
            }
            return;
        }
        let mut result: Option<Type> = None;
        let mut overloads = Vec::new();
        for (i, overload) in function.overloads.iter().enumerate() {
            if overload.member != member || overload.args.len() != types.len() {
                continue;
            }
            let mut names = Vec::new();
            let mut wanted = Vec::with_capacity(types.len());
            for ty in &overload.args {
                wanted.push(unify::instantiate(ty, &mut names, &mut self.substitutions));
            }
            let gives = unify::instantiate(&overload.result, &mut names, &mut self.substitutions);
            if !self.substitutions.all_assignable(&types, &wanted) {
                continue;
            }
            overloads.push(i);
            let gives = self.known(&gives);
            result = Some(match result {
                None => gives,
                Some(before) if before.is_dyn() || gives == before => before,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(ty) => {
                self.set(id, ty);
                self.references[id as usize] = Reference::Call {
                    function: Arc::clone(function),
                    overloads,
                };
            }
            None => {
                let signature = signature(
                    types.iter().map(|ty| self.substitutions.apply(ty, true)),
                    member,
                );
                self.fault(
                    id,
                    format!(
                        "found no matching overload for '{}' applied to '{signature}'",
                        function.name
                    ),
                );
            }
        }
    }

    fn check_struct(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Struct { name, fields } = &mut expr.kind else {
            return;
        };
        let found = match self.meaning(name) {
            None => {
                let name = name.to_string();
                return self.undeclared(id, &name);
            }
            Some(Meaning::Variable(ty)) => {
                self.fault(id, format!("'{ty}' is not a type"));
                Type::Error
            }
            Some(Meaning::Type(ty @ Type::Object(_))) => ty,
            Some(Meaning::Type(ty)) => {
                self.fault(id, format!("'{}' is not a message type", ty.name()));
                Type::Error
            }
        };
        if let Some(rest) = name.strip_prefix('.') {
            *name = rest.to_owned().into();
        }
        self.references[id as usize] = Reference::Type(found.clone());
        self.set(id, found.clone());
        for field in fields {
            self.check(&mut field.value);
            let declared = match &found {
                Type::Object(object) => object.field(&field.name),
                _ => None,
            };
            let wanted = match declared {
                Some(ty) => ty,
                None => {
                    let message = match &found {
                        Type::Object(_) => format!("undefined field '{}'", field.name),
                        _ => format!("unexpected failed resolution of '{name}'"),
                    };
                    self.fault(field.id, message);
                    Type::Error
                }
            };
            let ty = self.initial(&field.value, field.optional);
            if !self.substitutions.assignable(&wanted, &ty) {
                self.fault(
                    field.id,
                    format!(
                        "expected type of field '{}' is '{wanted}' but provided type is '{ty}'",
                        field.name
                    ),
                );
            }
        }
    }

    fn check_comprehension(&mut self, c: &mut Comprehension) -> Type {
        self.check(&mut c.range);
        self.check(&mut c.init);
        let range = self.known(&self.ty(&c.range));
        let accu = self.ty(&c.init);
        self.scopes.push((c.accu.clone(), accu.clone()));
        let (first, second) = match &range {
            Type::List(of) if c.var2.is_some() => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(of) => (of.0.clone(), of.1.clone()),
            Type::Var(_) => {
                self.substitutions.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other if other.is_dyn_or_error() => (Type::Dyn, Type::Dyn),
            other => {
                self.fault(
                    c.range.id,
                    format!(
                        "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Error, Type::Error)
            }
        };
        let outer = self.scopes.len();
        self.scopes.push((c.var.clone(), first));
        if let Some(var) = &c.var2 {
            self.scopes.push((var.clone(), second));
        }
        self.check(&mut c.condition);
        self.assert(&c.condition, &Type::Bool);
        self.check(&mut c.step);
        self.assert(&c.step, &accu);
        self.scopes.truncate(outer);
        self.check(&mut c.result);
        self.scopes.pop();
        self.known(&self.ty(&c.result))
    }

    fn assert(&mut self, expr: &Expr, wanted: &Type) {
        let ty = self.ty(expr);
        if !self.substitutions.assignable(wanted, &ty) {
            self.mismatch(expr.id, wanted, &ty);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// `(int, string)`, or `string.(int)` of a call on its first argument.
fn signature(types: impl Iterator<Item = Type>, member: bool) -> String {
    let mut types: Vec<String> = types.map(|ty| ty.to_string()).collect();
    let receiver = if member && !types.is_empty() {
        format!("{}.", types.remove(0))
    } else {
        String::new()
    };
    format!("{receiver}({})", types.join(", "))
}
