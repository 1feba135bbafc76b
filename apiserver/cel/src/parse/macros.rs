//! Macros: calls that are unfolded into other trees while parsing.
//!
//! Invariant: what a macro makes stands at the place of its call, so faults in it are told there. Follows upstream's
//! `vendor/github.com/google/cel-go/parser/macro.go`, `cel/library.go` (optional types), `ext/comprehensions.go`, `ext/lists.go` and `ext/bindings.go`.

use super::ids::Ids;
use crate::ast::{
    ACCUMULATOR, Comprehension, Entry, Expr, Field, Id, Kind, Literal, Name, OLD_ACCUMULATOR,
    UNUSED, op,
};

/// Why the arguments of a macro do not fit, and the node at whose place it is told.
pub struct Misuse {
    pub at: Id,
    pub message: String,
}

type Unfolded = Result<Expr, Misuse>;

/// A call that may be one of a macro.
pub struct Call {
    /// The id of the call, at its opening parenthesis.
    pub id: Id,
    pub target: Option<Expr>,
    pub args: Vec<Expr>,
}

type Expander = fn(&mut Maker<'_>, Call) -> Unfolded;

/// The macro of a name, a number of arguments and a style of call.
pub fn find(name: &str, args: usize, receiver: bool, bindings: bool) -> Option<Expander> {
    Some(match (name, args, receiver) {
        ("has", 1, false) => has,
        ("all", 2, true) => |m, c| quantifier(m, c, Quantifier::All),
        ("all", 3, true) => |m, c| quantifier(m, c, Quantifier::All),
        ("exists", 2 | 3, true) => |m, c| quantifier(m, c, Quantifier::Exists),
        ("exists_one" | "existsOne", 2 | 3, true) => |m, c| quantifier(m, c, Quantifier::ExistsOne),
        ("map", 2 | 3, true) => map,
        ("filter", 2, true) => filter,
        ("optMap", 2, true) => |m, c| opt_map(m, c, false),
        ("optFlatMap", 2, true) => |m, c| opt_map(m, c, true),
        ("transformList", 3 | 4, true) => transform_list,
        ("transformMap", 3 | 4, true) => |m, c| transform_map(m, c, false),
        ("transformMapEntry", 3 | 4, true) => |m, c| transform_map(m, c, true),
        ("sortBy", 2, true) => sort_by,
        ("bind", 3, true) if bindings => bind,
        _ => return None,
    })
}

/// Whether a call of this target is meant: `cel.bind` is one of the name `cel` alone.
pub fn concerns(name: &str, target: Option<&Expr>) -> bool {
    name != "bind"
        || matches!(target.map(|t| &t.kind), Some(Kind::Ident(namespace)) if namespace == "cel")
}

/// Makes nodes at the place of a call.
pub struct Maker<'p> {
    pub ids: &'p mut Ids,
    pub offset: u32,
}

impl Maker<'_> {
    fn node(&mut self, kind: Kind) -> Expr {
        Expr {
            id: self.ids.id(self.offset),
            kind,
        }
    }

    fn literal(&mut self, value: Literal) -> Expr {
        self.node(Kind::Literal(value))
    }

    fn ident(&mut self, name: impl Into<Name>) -> Expr {
        self.node(Kind::Ident(name.into()))
    }

    fn accu(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        let optional = Vec::new();
        self.node(Kind::List { elements, optional })
    }

    fn call(&mut self, function: &'static str, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call {
            target: None,
            function: function.into(),
            args,
        })
    }

    fn member_call(&mut self, function: &'static str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call {
            target: Some(Box::new(target)),
            function: function.into(),
            args,
        })
    }

    fn comprehension(&mut self, c: Comprehension) -> Expr {
        self.node(Kind::Comprehension(Box::new(c)))
    }

    /// A loop over `range` that gathers in the accumulator.
    fn gathered(
        &mut self,
        range: Expr,
        (var, var2): (Name, Option<Name>),
        [init, condition, step, result]: [Expr; 4],
    ) -> Expr {
        self.comprehension(Comprehension {
            range,
            var,
            var2,
            accu: ACCUMULATOR.into(),
            init,
            condition,
            step,
            result,
        })
    }

    /// The same tree with new ids, each at its place.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let offset = self.ids.offset(expr.id);
        let id = self.ids.id(offset);
        let kind = match &expr.kind {
            Kind::Unspecified | Kind::Literal(_) | Kind::Ident(_) => expr.kind.clone(),
            Kind::Select {
                operand,
                field,
                test_only,
            } => Kind::Select {
                operand: Box::new(self.copy(operand)),
                field: field.clone(),
                test_only: *test_only,
            },
            Kind::Call {
                target,
                function,
                args,
            } => Kind::Call {
                target: target.as_ref().map(|t| Box::new(self.copy(t))),
                function: function.clone(),
                args: args.iter().map(|a| self.copy(a)).collect(),
            },
            Kind::List { elements, optional } => Kind::List {
                elements: elements.iter().map(|e| self.copy(e)).collect(),
                optional: optional.clone(),
            },
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|e| Entry {
                        id: self.ids.id(self.offset),
                        key: self.copy(&e.key),
                        value: self.copy(&e.value),
                        optional: e.optional,
                    })
                    .collect(),
            ),
            Kind::Struct { name, fields } => Kind::Struct {
                name: name.clone(),
                fields: fields
                    .iter()
                    .map(|f| Field {
                        id: self.ids.id(self.offset),
                        name: f.name.clone(),
                        value: self.copy(&f.value),
                        optional: f.optional,
                    })
                    .collect(),
            },
            Kind::Comprehension(c) => Kind::Comprehension(Box::new(Comprehension {
                range: self.copy(&c.range),
                var: c.var.clone(),
                var2: c.var2.clone(),
                accu: c.accu.clone(),
                init: self.copy(&c.init),
                condition: self.copy(&c.condition),
                step: self.copy(&c.step),
                result: self.copy(&c.result),
            })),
        };
        Expr { id, kind }
    }
}

fn misuse<T>(at: &Expr, message: impl Into<String>) -> Result<T, Misuse> {
    Err(Misuse {
        at: at.id,
        message: message.into(),
    })
}

/// The name that an argument is.
fn name_of(arg: &Expr, otherwise: &str) -> Result<Name, Misuse> {
    match &arg.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => misuse(arg, otherwise),
    }
}

fn variable(arg: &Expr, otherwise: &str) -> Result<Name, Misuse> {
    let name = name_of(arg, otherwise)?;
    if name == ACCUMULATOR || name == OLD_ACCUMULATOR {
        return misuse(arg, "iteration variable overwrites accumulator variable");
    }
    Ok(name)
}

/// The two variables of a loop over index and value or key and value.
fn variables(first: &Expr, second: &Expr) -> Result<(Name, Name), Misuse> {
    const SIMPLE: &str = "argument must be a simple name";
    let (var, var2) = (name_of(first, SIMPLE)?, name_of(second, SIMPLE)?);
    if var == var2 {
        return misuse(second, format!("duplicate variable name: {var}"));
    }
    variable(first, SIMPLE)?;
    variable(second, SIMPLE)?;
    Ok((var, var2))
}

/// Target and arguments of a call with a receiver.
fn parts(call: Call) -> (Expr, std::vec::IntoIter<Expr>, usize) {
    let count = call.args.len();
    let target = call.target.unwrap_or(Expr {
        id: call.id,
        kind: Kind::Unspecified,
    });
    (target, call.args.into_iter(), count)
}

/// The next argument: macros are found by the number of their arguments, so there is one.
fn next(args: &mut std::vec::IntoIter<Expr>) -> Expr {
    args.next().unwrap_or(Expr {
        id: 0,
        kind: Kind::Unspecified,
    })
}

fn has(m: &mut Maker<'_>, call: Call) -> Unfolded {
    let (_, mut args, _) = parts(call);
    let arg = next(&mut args);
    match arg.kind {
        Kind::Select { operand, field, .. } => Ok(m.node(Kind::Select {
            operand,
            field,
            test_only: true,
        })),
        _ => misuse(&arg, "invalid argument to has() macro"),
    }
}

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

fn quantifier(m: &mut Maker<'_>, call: Call, which: Quantifier) -> Unfolded {
    let (range, mut args, count) = parts(call);
    let first = next(&mut args);
    let (var, var2) = if count == 3 {
        let (var, var2) = variables(&first, &next(&mut args))?;
        (var, Some(var2))
    } else {
        (variable(&first, "argument must be a simple name")?, None)
    };
    let predicate = next(&mut args);
    let accu = m.accu();
    let (init, condition, step, result);
    match which {
        Quantifier::All => {
            init = m.literal(Literal::Bool(true));
            condition = m.call(op::NOT_STRICTLY_FALSE, vec![accu]);
            let so_far = m.accu();
            step = m.call(op::AND, vec![so_far, predicate]);
            result = m.accu();
        }
        Quantifier::Exists => {
            init = m.literal(Literal::Bool(false));
            let not = m.call(op::NOT, vec![accu]);
            condition = m.call(op::NOT_STRICTLY_FALSE, vec![not]);
            let so_far = m.accu();
            step = m.call(op::OR, vec![so_far, predicate]);
            result = m.accu();
        }
        Quantifier::ExistsOne => {
            init = m.literal(Literal::Int(0));
            condition = m.literal(Literal::Bool(true));
            let one = m.literal(Literal::Int(1));
            let more = m.call(op::ADD, vec![accu, one]);
            let same = m.accu();
            step = m.call(op::CONDITIONAL, vec![predicate, more, same]);
            let (count, one) = (m.accu(), m.literal(Literal::Int(1)));
            result = m.call(op::EQUALS, vec![count, one]);
        }
    }
    Ok(m.gathered(range, (var, var2), [init, condition, step, result]))
}

/// A loop that collects: `step` where the filter holds.
fn collect(
    m: &mut Maker<'_>,
    range: Expr,
    variables: (Name, Option<Name>),
    filter: Option<Expr>,
    init: Expr,
    step: Expr,
) -> Expr {
    let condition = m.literal(Literal::Bool(true));
    let step = match filter {
        Some(filter) => {
            let same = m.accu();
            m.call(op::CONDITIONAL, vec![filter, step, same])
        }
        None => step,
    };
    let result = m.accu();
    m.gathered(range, variables, [init, condition, step, result])
}

/// `@result + [element]`
fn appended(m: &mut Maker<'_>, element: Expr) -> Expr {
    let (accu, list) = (m.accu(), m.list(vec![element]));
    m.call(op::ADD, vec![accu, list])
}

fn map(m: &mut Maker<'_>, call: Call) -> Unfolded {
    let (range, mut args, count) = parts(call);
    let var = variable(&next(&mut args), "argument is not an identifier")?;
    let filter = (count == 3).then(|| next(&mut args));
    let element = next(&mut args);
    let (init, step) = (m.list(Vec::new()), appended(m, element));
    Ok(collect(m, range, (var, None), filter, init, step))
}

fn filter(m: &mut Maker<'_>, call: Call) -> Unfolded {
    let (range, mut args, _) = parts(call);
    let element = next(&mut args);
    let var = variable(&element, "argument is not an identifier")?;
    let filter = next(&mut args);
    let (init, step) = (m.list(Vec::new()), appended(m, element));
    Ok(collect(m, range, (var, None), Some(filter), init, step))
}

fn transform_list(m: &mut Maker<'_>, call: Call) -> Unfolded {
    let (range, mut args, count) = parts(call);
    let (var, var2) = variables(&next(&mut args), &next(&mut args))?;
    let filter = (count == 4).then(|| next(&mut args));
    let element = next(&mut args);
    let (init, step) = (m.list(Vec::new()), appended(m, element));
    Ok(collect(m, range, (var, Some(var2)), filter, init, step))
}

fn transform_map(m: &mut Maker<'_>, call: Call, entries: bool) -> Unfolded {
    let (range, mut args, count) = parts(call);
    let (var, var2) = variables(&next(&mut args), &next(&mut args))?;
    let filter = (count == 4).then(|| next(&mut args));
    let value = next(&mut args);
    let accu = m.accu();
    let step = if entries {
        m.call("cel.@mapInsert", vec![accu, value])
    } else {
        let key = m.ident(var.clone());
        m.call("cel.@mapInsert", vec![accu, key, value])
    };
    let init = m.node(Kind::Map(Vec::new()));
    Ok(collect(m, range, (var, Some(var2)), filter, init, step))
}

/// `var` is `init` within `result`.
fn bound(m: &mut Maker<'_>, var: Name, init: Expr, result: Expr) -> Expr {
    let range = m.list(Vec::new());
    let condition = m.literal(Literal::Bool(false));
    let step = m.ident(var.clone());
    m.comprehension(Comprehension {
        range,
        var: UNUSED.into(),
        var2: None,
        accu: var,
        init,
        condition,
        step,
        result,
    })
}

fn bind(m: &mut Maker<'_>, call: Call) -> Unfolded {
    let (_, mut args, _) = parts(call);
    let name = name_of(
        &next(&mut args),
        "cel.bind() variable names must be simple identifiers",
    )?;
    let (init, result) = (next(&mut args), next(&mut args));
    Ok(bound(m, name, init, result))
}

fn opt_map(m: &mut Maker<'_>, call: Call, flat: bool) -> Unfolded {
    let (target, mut args, _) = parts(call);
    let which = if flat { "optFlatMap" } else { "optMap" };
    let name = name_of(
        &next(&mut args),
        &format!("{which}() variable name must be a simple identifier"),
    )?;
    let mapped = next(&mut args);
    let again = m.copy(&target);
    let has_value = m.member_call("hasValue", target, Vec::new());
    let value = m.member_call("value", again, Vec::new());
    let inner = bound(m, name, value, mapped);
    let some = if flat {
        inner
    } else {
        m.call("optional.of", vec![inner])
    };
    let none = m.call("optional.none", Vec::new());
    Ok(m.call(op::CONDITIONAL, vec![has_value, some, none]))
}

fn sort_by(m: &mut Maker<'_>, call: Call) -> Unfolded {
    const INPUT: &str = "@__sortBy_input__";
    let Call { id, target, args } = call;
    let (target, ..) = parts(Call {
        id,
        target,
        args: Vec::new(),
    });
    if matches!(
        target.kind,
        Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. } | Kind::Unspecified
    ) {
        return misuse(
            &target,
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression",
        );
    }
    let range = m.ident(INPUT);
    let keys = map(
        m,
        Call {
            id,
            target: Some(range),
            args,
        },
    )?;
    let input = m.ident(INPUT);
    let sorted = m.member_call("@sortByAssociatedKeys", input, vec![keys]);
    Ok(bound(m, INPUT.into(), target, sorted))
}
