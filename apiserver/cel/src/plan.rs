//! From a checked tree to what is evaluated: names become places, constants values, constant patterns regular expressions.
//!
//! Invariant: a plan costs when evaluated what upstream's costs; what upstream computes ahead is free here too. Follows upstream's
//! `vendor/github.com/google/cel-go/interpreter/{planner,decorators}.go`.

use crate::ast::{Comprehension, Expr, Kind, Name, UNUSED, op};
use crate::call::{self, Target};
use crate::check::{Checked, Reference};
use crate::error::EvalError;
use crate::regex::Pattern;
use crate::value::{Key, Map, Value, convert};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub type Constant = Value<'static>;

#[derive(Debug)]
pub enum Node {
    Constant(Constant),
    Attribute(Box<Attribute>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Equal {
        both: Box<[Node; 2]>,
        negated: bool,
    },
    Call(Box<Call>),
    /// `matches`, `find` and `findAll` by a pattern that is known.
    Regex {
        call: Box<Call>,
        pattern: Pattern,
    },
    /// `x in [..]` of constants.
    Member {
        element: Box<Node>,
        set: Members,
    },
    List {
        elements: Vec<Node>,
        optional: Vec<bool>,
    },
    Map(Vec<MapEntry>),
    Struct {
        name: Arc<str>,
        fields: Vec<StructField>,
    },
    Fold(Box<Fold>),
    /// A variable that is bound once.
    Bind {
        slot: usize,
        value: Box<Node>,
        result: Box<Node>,
    },
    /// `a.or(b)`, and `a.orValue(b)` which gives what is in `a`.
    Or2 {
        both: Box<[Node; 2]>,
        value: bool,
    },
    NotStrictlyFalse(Box<Node>),
}

#[derive(Debug)]
pub struct MapEntry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

#[derive(Debug)]
pub struct StructField {
    pub name: Arc<str>,
    pub value: Node,
    pub optional: bool,
}

/// Constants among which something is looked for.
#[derive(Debug)]
pub struct Members {
    texts: HashSet<Box<str>>,
    others: Vec<Constant>,
}

impl Members {
    pub fn holds(&self, value: &Value<'_>) -> bool {
        match value {
            Value::String(text) => self.texts.contains(text.as_str()),
            other => self.others.iter().any(|known| known.same(other)),
        }
    }
}

/// A value, and the way down from it.
#[derive(Debug)]
pub struct Attribute {
    pub base: Base,
    pub path: Vec<Step>,
    /// `has(..)`: whether the last step leads somewhere.
    pub test: bool,
}

#[derive(Debug)]
pub enum Base {
    /// A variable of the caller, by name.
    Variable(Box<str>),
    /// A variable of a loop, by its place.
    Local(usize),
    Node(Node),
    /// `c ? a : b`, which costs nothing of its own.
    Choice(Box<(Node, Branch, Branch)>),
}

/// What a choice leads to: a part of the data, which costs nothing more, or anything else.
#[derive(Debug)]
pub enum Branch {
    Attribute(Box<Attribute>),
    Node(Node),
}

#[derive(Debug)]
pub struct Step {
    pub by: By,
    /// Behind `?`.
    pub optional: bool,
}

#[derive(Debug)]
pub enum By {
    /// A field, or a key that is a constant text.
    Name(Box<str>),
    Constant(Constant),
    /// A part of the data: it costs nothing more than its path.
    Attribute(Box<Attribute>),
    Node(Node),
}

#[derive(Debug)]
pub struct Call {
    pub function: Target,
    pub args: Vec<Node>,
}

#[derive(Debug)]
pub struct Fold {
    pub range: Node,
    pub var: usize,
    pub var2: Option<usize>,
    pub accu: usize,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    /// A step that only adds to what was collected, so that it need not be copied.
    pub collects: bool,
    pub result: Node,
}

/// A plan, and how many variables of loops it needs room for.
#[derive(Debug)]
pub struct Plan {
    pub root: Node,
    pub slots: usize,
}

pub fn plan(root: &Expr, checked: &Checked) -> Result<Plan, EvalError> {
    let mut planner = Planner {
        checked,
        scopes: Vec::new(),
        slots: 0,
    };
    let root = planner.node(root)?;
    Ok(Plan {
        root,
        slots: planner.slots,
    })
}

struct Planner<'a> {
    checked: &'a Checked,
    /// The variables of the loops around and their places.
    scopes: Vec<(Name, usize)>,
    slots: usize,
}

type Planned<T = Node> = Result<T, EvalError>;

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Planned {
        match &expr.kind {
            Kind::Unspecified => Err(EvalError::new("unsupported expr")),
            Kind::Literal(literal) => Ok(Node::Constant(convert::literal(literal))),
            Kind::Ident(name) => Ok(self.ident(expr, name)),
            Kind::Select {
                operand,
                field,
                test_only,
            } => {
                let mut attribute = self.attribute(operand)?;
                attribute.path.push(Step {
                    by: By::Name(field.as_ref().into()),
                    optional: false,
                });
                attribute.test = *test_only;
                Ok(Node::Attribute(Box::new(attribute)))
            }
            Kind::Call {
                target,
                function,
                args,
            } => self.call(expr, target.as_deref(), function, args),
            Kind::List { elements, optional } => {
                let elements: Planned<Vec<Node>> = elements.iter().map(|e| self.node(e)).collect();
                Ok(list(elements?, optional.clone()))
            }
            Kind::Map(entries) => {
                let mut planned = Vec::with_capacity(entries.len());
                for entry in entries {
                    planned.push(MapEntry {
                        key: self.node(&entry.key)?,
                        value: self.node(&entry.value)?,
                        optional: entry.optional,
                    });
                }
                Ok(map(planned))
            }
            Kind::Struct { name, fields } => {
                let mut planned = Vec::with_capacity(fields.len());
                for field in fields {
                    planned.push(StructField {
                        name: field.name.as_ref().into(),
                        value: self.node(&field.value)?,
                        optional: field.optional,
                    });
                }
                Ok(Node::Struct {
                    name: name.as_ref().into(),
                    fields: planned,
                })
            }
            Kind::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Node {
        if let Reference::Type(ty) = self.checked.reference(expr) {
            return Node::Constant(Value::Type(ty.name().into()));
        }
        let local = self.scopes.iter().rev().find(|(known, _)| known == name);
        let base = match local {
            Some((_, slot)) => Base::Local(*slot),
            None => Base::Variable(name.into()),
        };
        Node::Attribute(Box::new(Attribute {
            base,
            path: Vec::new(),
            test: false,
        }))
    }

    /// What a path leads down from.
    fn attribute(&mut self, expr: &Expr) -> Planned<Attribute> {
        Ok(match self.node(expr)? {
            Node::Attribute(attribute) if !attribute.test => *attribute,
            other => Attribute {
                base: Base::Node(other),
                path: Vec::new(),
                test: false,
            },
        })
    }

    fn call(
        &mut self,
        expr: &Expr,
        target: Option<&Expr>,
        function: &Name,
        args: &[Expr],
    ) -> Planned {
        match (function.as_ref(), args) {
            (op::INDEX, [operand, index]) => return self.index(operand, index, false),
            (op::OPT_INDEX | op::OPT_SELECT, [operand, index]) => {
                return self.index(operand, index, true);
            }
            (op::CONDITIONAL, [condition, yes, no]) => {
                let choice = (self.node(condition)?, self.branch(yes)?, self.branch(no)?);
                return Ok(Node::Attribute(Box::new(Attribute {
                    base: Base::Choice(Box::new(choice)),
                    path: Vec::new(),
                    test: false,
                })));
            }
            _ => {}
        }
        let mut nodes = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            nodes.push(self.node(target)?);
        }
        for arg in args {
            nodes.push(self.node(arg)?);
        }
        let (found, overloads) = match self.checked.reference(expr) {
            Reference::Call {
                function,
                overloads,
            } => (Arc::clone(function), overloads.as_slice()),
            _ => return Err(EvalError::new(format!("no such overload: {function}"))),
        };
        let target = Target {
            function: found,
            overload: match overloads {
                [one] => Some(*one),
                _ => None,
            },
        };
        specialised(target, nodes)
    }

    fn branch(&mut self, expr: &Expr) -> Planned<Branch> {
        Ok(match self.node(expr)? {
            Node::Attribute(attribute) if !attribute.test => Branch::Attribute(attribute),
            other => Branch::Node(other),
        })
    }

    fn index(&mut self, operand: &Expr, index: &Expr, optional: bool) -> Planned {
        let mut attribute = self.attribute(operand)?;
        let by = match self.node(index)? {
            Node::Constant(Value::String(text)) => By::Name(text.as_str().into()),
            Node::Constant(value) => By::Constant(value),
            Node::Attribute(attribute) => By::Attribute(attribute),
            other => By::Node(other),
        };
        attribute.path.push(Step { by, optional });
        Ok(Node::Attribute(Box::new(attribute)))
    }

    fn slot(&mut self, name: &Name) -> usize {
        let slot = self.scopes.len();
        self.scopes.push((name.clone(), slot));
        self.slots = self.slots.max(slot + 1);
        slot
    }

    fn comprehension(&mut self, c: &Comprehension) -> Planned {
        if c.var == UNUSED {
            let value = self.node(&c.init)?;
            let slot = self.slot(&c.accu);
            let result = self.node(&c.result)?;
            self.scopes.pop();
            return Ok(Node::Bind {
                slot,
                value: Box::new(value),
                result: Box::new(result),
            });
        }
        let range = self.node(&c.range)?;
        let init = self.node(&c.init)?;
        let accu = self.slot(&c.accu);
        let var = self.slot(&c.var);
        let var2 = c.var2.as_ref().map(|name| self.slot(name));
        let condition = self.node(&c.condition)?;
        let step = self.node(&c.step)?;
        self.scopes.truncate(accu + 1);
        let result = self.node(&c.result)?;
        self.scopes.pop();
        let collects = matches!(&c.init.kind, Kind::List { .. } | Kind::Map(_));
        Ok(Node::Fold(Box::new(Fold {
            range,
            var,
            var2,
            accu,
            init,
            condition,
            step,
            collects,
            result,
        })))
    }
}

/// Calls that are more than calls, and those whose value is known.
fn specialised(target: Target, mut nodes: Vec<Node>) -> Planned {
    let name = target.function.name.clone();
    if nodes.len() == 2 {
        let both: Box<[Node; 2]> = match nodes.try_into() {
            Ok(both) => Box::new(both),
            Err(_) => return Err(EvalError::new("unsupported expr")),
        };
        match (name.as_ref(), target.overload_id()) {
            (op::AND, _) => return Ok(Node::And(both)),
            (op::OR, _) => return Ok(Node::Or(both)),
            (op::EQUALS, _) => {
                return Ok(Node::Equal {
                    both,
                    negated: false,
                });
            }
            (op::NOT_EQUALS, _) => {
                return Ok(Node::Equal {
                    both,
                    negated: true,
                });
            }
            ("or", "optional_or_optional" | "") => return Ok(Node::Or2 { both, value: false }),
            ("orValue", "optional_orValue_value" | "") => {
                return Ok(Node::Or2 { both, value: true });
            }
            (op::IN, "in_list") => {
                if let Node::Constant(Value::List(list)) = &both[1]
                    && let Some(set) = members(list)
                {
                    let [element, _] = *both;
                    if list_is_empty(&set) {
                        return Ok(Node::Constant(Value::Bool(false)));
                    }
                    return Ok(Node::Member {
                        element: Box::new(element),
                        set,
                    });
                }
            }
            _ => {}
        }
        nodes = (*both).into();
    }
    if nodes.len() == 1 && name == op::NOT_STRICTLY_FALSE {
        return match nodes.pop() {
            Some(inner) => Ok(Node::NotStrictlyFalse(Box::new(inner))),
            None => Err(EvalError::new("unsupported expr")),
        };
    }
    const CONVERSIONS: [&str; 10] = [
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "int",
        "string",
        "timestamp",
        "type",
        "uint",
    ];
    if let [Node::Constant(value)] = nodes.as_slice()
        && CONVERSIONS.contains(&name.as_ref())
    {
        let value = call::call_native(&target, std::slice::from_ref(value))?;
        return Ok(Node::Constant(value));
    }
    let pattern = match (name.as_ref(), nodes.get(1)) {
        ("matches" | "find" | "findAll", Some(Node::Constant(Value::String(text)))) => {
            let pattern = Pattern::new(text);
            Some(pattern.map_err(|error| EvalError::new(error.to_string()))?)
        }
        _ => None,
    };
    let call = Box::new(Call {
        function: target,
        args: nodes,
    });
    Ok(match pattern {
        Some(pattern) => Node::Regex { call, pattern },
        None => Node::Call(call),
    })
}

fn list_is_empty(set: &Members) -> bool {
    set.texts.is_empty() && set.others.is_empty()
}

/// Constants as a set; `None` where one is no plain value.
fn members(list: &crate::value::List<'static>) -> Option<Members> {
    let mut set = Members {
        texts: HashSet::new(),
        others: Vec::new(),
    };
    for value in list.iter() {
        match value.ok()? {
            Value::String(text) => {
                set.texts.insert(text.as_str().into());
            }
            value @ (Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
                set.others.push(value);
            }
            _ => return None,
        }
    }
    Some(set)
}

fn list(elements: Vec<Node>, optional: Vec<bool>) -> Node {
    let constants = elements.iter().all(|e| matches!(e, Node::Constant(_)));
    if !constants || !optional.is_empty() {
        return Node::List { elements, optional };
    }
    let values = elements.into_iter().filter_map(|element| match element {
        Node::Constant(value) => Some(value),
        _ => None,
    });
    Node::Constant(Value::list(values.collect()))
}

fn map(entries: Vec<MapEntry>) -> Node {
    let mut found = BTreeMap::new();
    for entry in &entries {
        match (&entry.key, &entry.value) {
            (Node::Constant(key), Node::Constant(value)) if !entry.optional => match Key::of(key) {
                Some(key) => found.insert(key, value.clone()),
                None => return Node::Map(entries),
            },
            _ => return Node::Map(entries),
        };
    }
    Node::Constant(Value::Map(Map::of(found)))
}
