//! The rules of a definition's schema (`x-kubernetes-validations`), and what they have against an object.
//!
//! Invariant: rules are compiled once, when the first object is held to them; all that are asked of one object together cost no more than a budget.
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use serde_json::Value as Json;

use crate::machinery::quote::GoQuoted;
use crate::machinery::{
    cel::{
        self, Activation, Compiled, Declared, Env, EvalError, MAX_MESSAGE_BYTES, PER_CALL_LIMIT,
        RUNTIME_BUDGET, Value, declared::Shape, escape::escape, value::from_json_as,
    },
    field::{Error, Errors, Kind, NIL, Path},
    problem::{Problem, problem},
    read::Read,
    structural::{Default, Node, Structural, Visit},
};

const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The rules of a schema, by the nodes that say them and those that they are about.
#[derive(Debug)]
pub struct Rules(HashMap<(u32, u32), Place>);

/// What is asked at one place.
#[derive(Debug)]
struct Place {
    declared: Arc<Declared>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// The expression, or why it is none, which the validation of definitions rules out.
    compiled: Result<Compiled, Problem>,
    uses_old: bool,
    /// It is asked where there was nothing before, too.
    optional_old: bool,
    message: Option<(Compiled, String)>,
    /// The rule as errors name it: its message, or itself.
    named: String,
    detail: String,
    reason: Kind,
    /// The field that it is about, below its place.
    field: String,
}

/// A place of the schema while rules are gathered.
struct At<'s> {
    schema: &'s Json,
    declared: &'s Arc<Declared>,
}

impl Rules {
    /// The rules of a schema, whose JSON is `schema`.
    pub fn of(structural: &Structural, schema: &Json) -> Rules {
        let mut rules = Rules(HashMap::new());
        let declared = cel::declare_root(schema, "selfType");
        let at = At {
            schema,
            declared: &declared,
        };
        rules.gather(structural.root(), structural.root(), &at);
        rules
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn gather(&mut self, rules_of: &Node, node: &Node, at: &At<'_>) {
        if !rules_of.body.ruled {
            return;
        }
        let own = rules_of.rules();
        if !own.is_empty() {
            self.0
                .entry((rules_of.id, node.id))
                .or_insert_with(|| Place::new(own, at.declared));
        }
        for part in rules_of.all_of() {
            self.gather(part, node, at);
        }
        if let Some((rules_of, node)) = rules_of.items().zip(node.items())
            && let Shape::List { items, .. } = &at.declared.shape
        {
            self.below(rules_of, node, at.schema.at("items"), Some(items));
        }
        if let Some((rules_of, node)) = rules_of.additional().zip(node.additional())
            && let Shape::Map(values) = &at.declared.shape
        {
            self.below(
                rules_of,
                node,
                at.schema.at("additionalProperties"),
                Some(values),
            );
        }
        for (name, rules_of) in rules_of.properties() {
            let Some(node) = node.property(name) else {
                continue;
            };
            let schema = at.schema.at("properties").at(name);
            // one whose name no expression can say has a type nonetheless
            let declared = match (escape(name), &at.declared.shape) {
                (None, _) => Some(cel::declare(schema, "selfType")),
                (Some(_), Shape::Object(properties)) => properties
                    .get(name)
                    .map(|property| property.declared.clone()),
                _ => None,
            };
            self.below(rules_of, node, schema, declared.as_ref());
        }
    }

    fn below(
        &mut self,
        rules_of: &Node,
        node: &Node,
        schema: &Json,
        declared: Option<&Arc<Declared>>,
    ) {
        // what has no type is left out
        if let Some(declared) = declared.filter(|declared| declared.ty.is_some()) {
            self.gather(rules_of, node, &At { schema, declared });
        }
    }

    /// What the rules have against an object; `warn` hears of what was so before.
    pub fn check(
        &self,
        structural: &Structural,
        new: &Json,
        old: Option<&Json>,
        warn: &mut dyn FnMut(&Error),
    ) -> Errors {
        let mut errors = Errors::default();
        if self.is_empty() {
            return errors;
        }
        let mut budget = RUNTIME_BUDGET;
        let mut visit = |visit: &Visit<'_>, path: &Path<'_>| {
            self.at(visit, path, &mut budget, &mut errors, warn)
        };
        // running out is told of, and ends it
        match structural.walk(new, old, &Path::WHOLE, &mut visit) {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => errors,
        }
    }

    /// What the rules have against a default of their schema: it is to be good both where it stays as it is and where there was nothing before.
    /// Breaks off when `budget` is spent.
    pub fn check_default(
        &self,
        default: &Default<'_>,
        path: &Path<'_>,
        budget: &mut u64,
        errors: &mut Errors,
    ) -> ControlFlow<()> {
        let (before, had) = (errors.0.len(), *budget);
        let pass = |old: Option<&Json>, left: &mut u64, errors: &mut Errors| {
            default.walk(old, path, &mut |visit, path| {
                self.at(visit, path, left, errors, &mut |_| {})
            })
        };
        pass(Some(default.value), budget, errors)?;
        if errors.0.len() == before {
            let mut left = had;
            pass(None, &mut left, errors)?;
            *budget = left.min(*budget);
        }
        ControlFlow::Continue(())
    }

    /// Asks the rules of one place.
    fn at(
        &self,
        visit: &Visit<'_>,
        path: &Path<'_>,
        budget: &mut u64,
        errors: &mut Errors,
        warn: &mut dyn FnMut(&Error),
    ) -> ControlFlow<()> {
        match self.0.get(&(visit.rules_of.id, visit.node.id)) {
            None => ControlFlow::Continue(()),
            Some(place) => Asked {
                visit,
                path,
                budget,
                errors,
                warn,
            }
            .all(place),
        }
    }
}

impl Place {
    fn new(rules: &[Json], declared: &Arc<Declared>) -> Place {
        let env = |optional: bool| {
            let env = cel::env().extend().declared("self", declared);
            match optional {
                true => env.optional("oldSelf", declared).build(),
                false => env.declared("oldSelf", declared).build(),
            }
        };
        let (usual, optional) = (env(false), env(true));
        let said = rules
            .iter()
            .filter(|rule| !rule.text("rule").trim().is_empty());
        let rules = said.map(|rule| match rule.flag("optionalOldSelf") {
            true => Rule::new(rule, &optional),
            false => Rule::new(rule, &usual),
        });
        Place {
            rules: rules.collect(),
            declared: declared.clone(),
        }
    }
}

impl Rule {
    fn new(rule: &Json, env: &Env) -> Rule {
        let compiled = |text: &str| {
            let compiled = env
                .compile(text)
                .map_err(|issues| Problem(issues.to_string()))?;
            match compiled.instantiated() {
                Ok(()) => Ok(compiled),
                Err(why) => Err(Problem(why.to_string())),
            }
        };
        let (text, message) = (rule.text("rule"), rule.text("message"));
        let expression = rule.text("messageExpression");
        let rule_of = compiled(text);
        let named = if message.is_empty() { text } else { message }.trim();
        Rule {
            uses_old: rule_of
                .as_ref()
                .is_ok_and(|compiled| compiled.uses("oldSelf")),
            compiled: rule_of,
            optional_old: rule.flag("optionalOldSelf"),
            message: Some(expression)
                .filter(|expression| !expression.is_empty())
                .and_then(|expression| Some((compiled(expression).ok()?, expression.to_string()))),
            named: named.into(),
            detail: match message {
                "" => format!("failed rule: {named}"),
                _ => named.into(),
            },
            reason: match rule.text("reason") {
                "FieldValueForbidden" => Kind::Forbidden,
                "FieldValueRequired" => Kind::Required,
                "FieldValueDuplicate" => Kind::Duplicate,
                _ => Kind::Invalid,
            },
            field: rule.text("fieldPath").trim_start_matches('.').into(),
        }
    }
}

/// A place of an object whose rules are asked.
struct Asked<'a, 'w> {
    visit: &'a Visit<'w>,
    path: &'a Path<'a>,
    budget: &'a mut u64,
    errors: &'a mut Errors,
    warn: &'a mut dyn FnMut(&Error),
}

impl Asked<'_, '_> {
    fn all(&mut self, place: &Place) -> ControlFlow<()> {
        if *self.budget == 0 {
            self.type_error(NO_BUDGET.into());
            return ControlFlow::Break(());
        }
        let read = |json| from_json_as(json, &place.declared);
        let (new, old) = match (read(self.visit.new), self.visit.old.map(read).transpose()) {
            (Ok(new), Ok(old)) => (new, old),
            (Err(why), _) | (_, Err(why)) => {
                for rule in &place.rules {
                    self.type_error(format!("{why} evaluating rule: {}", rule.named));
                }
                return ControlFlow::Continue(());
            }
        };
        let mut usual = Activation::new().with("self", new.clone());
        if let Some(old) = &old {
            usual.set("oldSelf", old.clone());
        }
        let optional = || {
            let old = old.clone().map_or_else(Value::none, Value::some);
            Activation::new()
                .with("self", new.clone())
                .with("oldSelf", old)
        };
        for rule in &place.rules {
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            match rule.optional_old {
                true => self.one(rule, &optional(), &usual)?,
                false => self.one(rule, &usual, &usual)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn one<'v>(
        &mut self,
        rule: &'v Rule,
        activation: &Activation<'v>,
        of_message: &Activation<'v>,
    ) -> ControlFlow<()> {
        let compiled = match &rule.compiled {
            Ok(compiled) => compiled,
            Err(why) => {
                self.type_error(format!("rule compile error: {why}"));
                return ControlFlow::Continue(());
            }
        };
        let (outcome, cost) = compiled.evaluate(activation, PER_CALL_LIMIT);
        if cost > *self.budget {
            self.type_error(NO_BUDGET.into());
            return ControlFlow::Break(());
        }
        *self.budget -= cost;
        match outcome {
            Err(EvalError::CostLimit) => {
                self.type_error(format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    EvalError::CostLimit, rule.named
                ));
                return ControlFlow::Break(());
            }
            Err(why) => {
                let (why, named) = (why.to_string(), &rule.named);
                self.type_error(match why.starts_with("no such overload") {
                    true => format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {named}"
                    ),
                    false => format!("{why} evaluating rule: {named}"),
                });
                return ControlFlow::Continue(());
            }
            Ok(value) if value.as_bool() == Some(true) => return ControlFlow::Continue(()),
            Ok(_) => {}
        }
        let detail = match &rule.message {
            None => rule.detail.clone(),
            Some((message, text)) => match self.message(message, text, of_message) {
                Ok(detail) => detail.unwrap_or_else(|| rule.detail.clone()),
                Err(why) => {
                    let error =
                        self.error(rule, Kind::Invalid, Some(self.type_name().into()), why.0);
                    self.add(rule, error);
                    return ControlFlow::Break(());
                }
            },
        };
        let whole = matches!(self.type_name(), "object" | "array");
        let value = Some(self.visit.new.clone()).filter(|_| !whole);
        let (value, detail) = match rule.reason {
            Kind::Forbidden | Kind::Required => (None, detail),
            Kind::Duplicate => (value, String::new()),
            _ => (value, detail),
        };
        let error = self.error(rule, rule.reason, value, detail);
        self.add(rule, error);
        ControlFlow::Continue(())
    }

    /// What a message expression says; nothing where it fails or says nothing of use.
    ///
    /// # Errors
    /// It costs too much for anything more to be asked.
    fn message<'v>(
        &mut self,
        message: &'v Compiled,
        text: &str,
        activation: &Activation<'v>,
    ) -> Result<Option<String>, Problem> {
        let (outcome, cost) = message.evaluate(activation, PER_CALL_LIMIT);
        if cost > *self.budget {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
        }
        *self.budget -= cost;
        let said = match outcome {
            Err(EvalError::CostLimit) => {
                return Err(problem!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {text}",
                    text = GoQuoted(&text)
                ));
            }
            Err(_) => return Ok(None),
            Ok(value) => value.as_str().map(|said| said.trim().to_string()),
        };
        Ok(said.filter(|said| {
            !said.is_empty() && !said.contains('\n') && said.len() <= MAX_MESSAGE_BYTES
        }))
    }

    fn type_name(&self) -> &'static str {
        self.visit.node.body.kind.name()
    }

    fn error(&self, rule: &Rule, kind: Kind, value: Option<Json>, detail: String) -> Error {
        let field = match (rule.field.as_str(), self.path.is_blank()) {
            ("", true) => NIL.into(),
            ("", false) => self.path.to_string(),
            (field, _) => self.path.child(field).to_string(),
        };
        Error {
            kind,
            field,
            value,
            detail,
        }
    }

    fn add(&mut self, rule: &Rule, error: Error) {
        if !rule.uses_old && self.visit.ratchets() {
            (self.warn)(&error);
        } else {
            self.errors.0.push(error);
        }
    }

    /// What is wrong with asking, told of the type.
    fn type_error(&mut self, detail: String) {
        let field = match self.path.is_blank() {
            true => NIL.into(),
            false => self.path.to_string(),
        };
        self.errors.0.push(Error {
            kind: Kind::Invalid,
            field,
            value: Some(self.type_name().into()),
            detail,
        });
    }
}
