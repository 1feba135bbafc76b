//! Evaluates JSONPath templates.
//! Invariant: the value is only borrowed; texts and numbers of the template itself are the only things made.
//! Behaviour follows `staging/src/k8s.io/client-go/util/jsonpath/jsonpath.go`.

use super::{Node, Part, Results};
use crate::machinery::patch::go::GoValue;
use crate::machinery::problem::{Problem, problem};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cmp::Ordering;

pub struct Evaluator {
    pub allow_missing: bool,
}

impl Evaluator {
    pub fn parts<'a>(&self, parts: &[Part], data: &'a Value) -> Result<Vec<Results<'a>>, Problem> {
        let mut out = Vec::new();
        for part in parts {
            match part {
                Part::Text(t) => out.push(vec![Cow::Owned(json!(t))]),
                Part::Action(nodes) => out.push(self.list(nodes, vec![Cow::Borrowed(data)])?),
                Part::Range(nodes, body) => {
                    for item in self.list(nodes, vec![Cow::Borrowed(data)])? {
                        match item {
                            Cow::Borrowed(v) => out.extend(self.parts(body, v)?),
                            Cow::Owned(v) => {
                                out.extend(self.parts(body, &v)?.into_iter().map(|r| {
                                    r.into_iter().map(|c| Cow::Owned(c.into_owned())).collect()
                                }))
                            }
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    fn list<'a>(&self, nodes: &[Node], mut current: Results<'a>) -> Result<Results<'a>, Problem> {
        for node in nodes {
            current = self.step(node, current)?;
        }
        Ok(current)
    }

    fn step<'a>(&self, node: &Node, input: Results<'a>) -> Result<Results<'a>, Problem> {
        let each = |v: Value| Ok(input.iter().map(|_| Cow::Owned(v.clone())).collect());
        match node {
            Node::Text(t) => Ok(vec![Cow::Owned(json!(t))]),
            Node::Int(i) => each(json!(i)),
            Node::Float(f) => each(json!(f)),
            Node::Bool(b) => each(json!(b)),
            Node::Identifier(word) if word == "end" => Err("not in range, nothing to end".into()),
            Node::Identifier(word) => Err(problem!("unrecognized identifier {word}")),
            Node::Field(name) => self.field(name, input),
            Node::Wildcard => Ok(input.into_iter().flat_map(contents).collect()),
            Node::Recursive => {
                let mut out = Vec::new();
                input.into_iter().for_each(|v| descend(v, &mut out));
                Ok(out)
            }
            Node::Union(members) => {
                let mut out = Vec::new();
                for m in members {
                    out.extend(self.list(m, input.clone())?);
                }
                Ok(out)
            }
            Node::Slice {
                start,
                end,
                derived,
                step,
            } => {
                let mut out = Vec::new();
                for v in input {
                    slice(v, *start, *end, *derived, *step, &mut out)?;
                }
                Ok(out)
            }
            Node::Filter {
                left,
                right,
                operator,
            } => self.filter(left, right, operator, input),
        }
    }

    fn field<'a>(&self, name: &str, input: Results<'a>) -> Result<Results<'a>, Problem> {
        if input.is_empty() {
            return Ok(input);
        }
        let out: Results = input
            .into_iter()
            .filter_map(|v| match v {
                Cow::Borrowed(v) => v.as_object().and_then(|m| m.get(name)).map(Cow::Borrowed),
                Cow::Owned(Value::Object(mut m)) => m.remove(name).map(Cow::Owned),
                Cow::Owned(_) => None,
            })
            .collect();
        if out.is_empty() && !self.allow_missing {
            Err(problem!("{name} is not found"))
        } else {
            Ok(out)
        }
    }

    fn filter<'a>(
        &self,
        left: &[Node],
        right: &[Node],
        operator: &str,
        input: Results<'a>,
    ) -> Result<Results<'a>, Problem> {
        let mut out = Vec::new();
        for v in input {
            if !v.is_array() {
                return Err(problem!(
                    "{} is not array or slice and cannot be filtered",
                    GoValue(&v)
                ));
            }
            for item in children(v) {
                let lefts = self.list(left, vec![item.clone()]);
                if operator == "exists" {
                    if lefts.is_ok_and(|l| !l.is_empty()) {
                        out.push(item);
                    }
                    continue;
                }
                let lefts = lefts?;
                let rights = if lefts.is_empty() {
                    continue;
                } else {
                    self.list(right, vec![item.clone()])?
                };
                if rights.is_empty() {
                    continue;
                }
                let ([l], [r]) = (lefts.as_slice(), rights.as_slice()) else {
                    return Err("can only compare one element at a time".into());
                };
                if compare(l, r, operator)? {
                    out.push(item);
                }
            }
        }
        Ok(out)
    }
}

fn compare(left: &Value, right: &Value, operator: &str) -> Result<bool, Problem> {
    let order = match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::Bool(a), Value::Bool(b)) if matches!(operator, "==" | "!=") => Some(a.cmp(b)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => return Err("incompatible types for comparison".into()),
    };
    let order = order.ok_or("incompatible types for comparison")?;
    Ok(match operator {
        "==" => order == Ordering::Equal,
        "!=" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        ">=" => order != Ordering::Less,
        other => return Err(problem!("unrecognized filter operator {other}")),
    })
}

fn children(value: Cow<Value>) -> Vec<Cow<Value>> {
    match value {
        Cow::Borrowed(Value::Array(l)) => l.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Object(m)) => m.values().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(l)) => l.into_iter().map(Cow::Owned).collect(),
        Cow::Owned(Value::Object(m)) => m.into_iter().map(|(_, v)| Cow::Owned(v)).collect(),
        _ => vec![],
    }
}

/// What a wildcard finds: of a text its bytes.
fn contents(value: Cow<Value>) -> Vec<Cow<Value>> {
    match value.as_str() {
        Some(text) => text.bytes().map(|byte| Cow::Owned(json!(byte))).collect(),
        None => children(value),
    }
}

fn descend<'a>(value: Cow<'a, Value>, out: &mut Results<'a>) {
    let below = children(value.clone());
    // a text has parts, too
    if !below.is_empty() || value.as_str().is_some_and(|text| !text.is_empty()) {
        out.push(value);
        below.into_iter().for_each(|v| descend(v, out));
    }
}

fn slice<'a>(
    value: Cow<'a, Value>,
    start: Option<i64>,
    end: Option<i64>,
    derived: bool,
    step: Option<i64>,
    out: &mut Results<'a>,
) -> Result<(), Problem> {
    if value.is_null() {
        return Ok(());
    }
    if !value.is_array() {
        let kind = match &*value {
            Value::Object(_) => "map[string]interface {}",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Number(n) if n.is_f64() => "float64",
            _ => "int64",
        };
        return Err(problem!("{kind} is not array or slice"));
    }
    let items = children(value);
    let length = items.len() as i64;
    let mut from = start.unwrap_or(0);
    from += if from < 0 { length } else { 0 };
    let mut to = end.unwrap_or(length);
    to += if to < 0 || (to == 0 && derived) {
        length
    } else {
        0
    };
    if to == from {
        return Ok(());
    }
    if from >= length || from < 0 {
        return Err(problem!(
            "array index out of bounds: index {from}, length {length}"
        ));
    }
    if to > length || to < 0 {
        return Err(problem!(
            "array index out of bounds: index {}, length {length}",
            to - 1
        ));
    }
    if from > to {
        return Err(problem!(
            "starting index {from} is greater than ending index {to}"
        ));
    }
    let step = step.unwrap_or(1);
    if step <= 0 {
        return Err("step must be > 0".into());
    }
    out.extend(
        items
            .into_iter()
            .take(to as usize)
            .skip(from as usize)
            .step_by(step as usize),
    );
    Ok(())
}
