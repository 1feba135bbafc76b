//! Expressions of admission: match conditions of webhooks and policies, and what policies say of the requests that they match.
//!
//! Invariant: what is stored and what is asked of a request are compiled here, in one environment: [`Compiler`] is used by the validation of objects and
//! by whoever acts upon them. Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/cel/{compile,composition}.go`.

use skiff_cel::{
    Compiled, Env, EnvBuilder, Issues, Type,
    library::{authorizer, jsonpatch},
};
use std::sync::LazyLock;

pub const OBJECT: &str = "object";
pub const OLD_OBJECT: &str = "oldObject";
pub const REQUEST: &str = "request";
pub const NAMESPACE_OBJECT: &str = "namespaceObject";
pub const PARAMS: &str = "params";
pub const AUTHORIZER: &str = "authorizer";
pub const REQUEST_RESOURCE: &str = "authorizer.requestResource";
pub const VARIABLES: &str = "variables";

/// The name of the type of configurations to apply, and where the names of the types of their parts begin.
pub const APPLIED: &str = "Object";

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    Bool,
    Text,
    TextOrNull,
    /// What is to be merged into an object.
    Applied,
    /// The steps of a JSON patch.
    Patch,
    Anything,
}

impl Gives {
    /// One of these, or anything where there are none.
    fn types(self) -> Vec<Type> {
        match self {
            Gives::Bool => vec![Type::Bool],
            Gives::Text => vec![Type::String],
            Gives::TextOrNull => vec![Type::String, Type::Null],
            Gives::Applied => vec![Type::open_object(APPLIED)],
            Gives::Patch => vec![Type::list(Type::object(jsonpatch::TYPE))],
            Gives::Anything => Vec::new(),
        }
    }

    /// It may change an object.
    fn changes(self) -> bool {
        matches!(self, Gives::Applied | Gives::Patch)
    }
}

/// Why an expression cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    #[error("compilation failed: {0}")]
    Invalid(Issues),
    #[error("must evaluate to {wanted} but got {given}")]
    Type { wanted: String, given: String },
    /// It is without fault and cannot be evaluated: a constant pattern that is none.
    #[error("program instantiation failed: {0}")]
    Uninstantiated(String),
}

static TYPES: LazyLock<(Type, Type)> = LazyLock::new(|| (request(), namespace()));

/// The type of `request`. Its objects are variables of their own.
fn request() -> Type {
    let texts = |name, fields: &[&'static str]| {
        Type::object_of(name, fields.iter().map(|field| (*field, Type::String)))
    };
    let kind = texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = texts(
        "kubernetes.GroupVersionResource",
        &["group", "version", "resource"],
    );
    let list = || Type::list(Type::String);
    let user = Type::object_of(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", list()),
            ("extra", Type::map(Type::String, list())),
        ],
    );
    Type::object_of(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// The type of `namespaceObject`.
fn namespace() -> Type {
    let list = || Type::list(Type::String);
    let map = || Type::map(Type::String, Type::String);
    let spec = Type::object_of("kubernetes.NamespaceSpec", [("finalizers", list())]);
    let condition = Type::object_of(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let status = Type::object_of(
        "kubernetes.NamespaceStatus",
        [
            ("conditions", Type::list(condition)),
            ("phase", Type::String),
        ],
    );
    let metadata = Type::object_of(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", map()),
            ("annotations", map()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", list()),
        ],
    );
    Type::object_of(
        "kubernetes.Namespace",
        [("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

/// Compiles the expressions of one webhook or policy.
#[derive(Clone)]
pub struct Compiler {
    /// Without the authorizer and the types of changes.
    env: Env,
    variables: Option<Vec<(String, Type)>>,
}

impl Compiler {
    /// With `params` where there is a kind of parameters; without variables of its own.
    pub fn new(params: bool) -> Compiler {
        Compiler::of(params, Type::Dyn)
    }

    /// The same, where the type of the objects is known.
    pub fn of(params: bool, objects: Type) -> Compiler {
        let (request, namespace) = &*TYPES;
        let env = super::env()
            .extend()
            .variable(OBJECT, objects.clone())
            .variable(OLD_OBJECT, objects)
            .variable(NAMESPACE_OBJECT, namespace.clone())
            .variable(REQUEST, request.clone());
        let env = match params {
            true => env.variable(PARAMS, Type::Dyn),
            false => env,
        };
        Compiler {
            env: env.build(),
            variables: None,
        }
    }

    /// With `params` of a type that is known.
    pub fn with_params(self, params: Type) -> Compiler {
        Compiler {
            env: self.env.extend().variable(PARAMS, params).build(),
            ..self
        }
    }

    /// Expressions may have variables (`variables.x`), none yet.
    pub fn with_variables(mut self) -> Compiler {
        self.variables = Some(Vec::new());
        self
    }

    /// Compiles a variable, which what comes later may ask for, whatever is wrong with it.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn variable(&mut self, name: &str, text: &str) -> Result<Compiled, Fault> {
        let compiled = self.compile(text, Gives::Anything);
        let ty = match &compiled {
            Ok(compiled) => declarable(compiled.output_type()),
            Err(_) => Type::Dyn,
        };
        let variables = self.variables.get_or_insert_default();
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_string(), ty));
        compiled
    }

    /// Compiles an expression that may ask the authorizer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self, text: &str, gives: Gives) -> Result<Compiled, Fault> {
        let env = (self.extended(gives))
            .variable(AUTHORIZER, Type::object(authorizer::AUTHORIZER))
            .variable(REQUEST_RESOURCE, Type::object(authorizer::RESOURCE_CHECK));
        compile(&env.build(), text, gives)
    }

    /// Compiles an expression that may not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile_unasked(&self, text: &str, gives: Gives) -> Result<Compiled, Fault> {
        compile(&self.extended(gives).build(), text, gives)
    }

    fn extended(&self, gives: Gives) -> EnvBuilder {
        let mut env = self.env.extend();
        if let Some(variables) = &self.variables {
            let fields = variables
                .iter()
                .map(|(name, ty)| (name.as_str(), ty.clone()));
            env = env.variable(VARIABLES, Type::object_of("kubernetes.variables", fields));
        }
        match gives.changes() {
            true => env.library(jsonpatch::library()).open_objects(APPLIED),
            false => env,
        }
    }
}

/// What is known of a variable's type: of what is no plain value nothing is.
fn declarable(ty: &Type) -> Type {
    match ty {
        Type::Any
        | Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Duration
        | Type::Timestamp => ty.clone(),
        Type::List(of) => Type::list(declarable(of)),
        Type::Map(of) => Type::map(declarable(&of.0), declarable(&of.1)),
        _ => Type::Dyn,
    }
}

fn compile(env: &Env, text: &str, gives: Gives) -> Result<Compiled, Fault> {
    let compiled = env.compile(text).map_err(Fault::Invalid)?;
    let (wanted, given) = (gives.types(), compiled.output_type());
    if !wanted.is_empty() && !wanted.contains(given) {
        let names: Vec<String> = wanted.iter().map(Type::full_name).collect();
        return Err(Fault::Type {
            wanted: match names.as_slice() {
                [one] => one.clone(),
                several => format!("one of [{}]", several.join(" ")),
            },
            given: given.full_name(),
        });
    }
    match compiled.instantiated() {
        Ok(()) => Ok(compiled),
        Err(why) => Err(Fault::Uninstantiated(why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an expression; nothing where it can be used.
    fn fault(compiler: &Compiler, text: &str, gives: Gives) -> String {
        let compiled = compiler.compile(text, gives);
        compiled
            .err()
            .map_or(String::new(), |fault| fault.to_string())
    }

    #[test]
    fn what_expressions_must_give() {
        let compiler = Compiler::new(false);
        for (text, gives, wanted) in [
            ("true", Gives::Bool, ""),
            (
                "object.spec",
                Gives::Bool,
                "must evaluate to bool but got dyn",
            ),
            (
                "[1]",
                Gives::Bool,
                "must evaluate to bool but got list(int)",
            ),
            (
                "duration('1s')",
                Gives::Bool,
                "must evaluate to bool but got google.protobuf.Duration",
            ),
            ("'a'", Gives::TextOrNull, ""),
            ("null", Gives::TextOrNull, ""),
            (
                "1",
                Gives::TextOrNull,
                "must evaluate to one of [string null_type] but got int",
            ),
            (
                "null",
                Gives::Text,
                "must evaluate to string but got null_type",
            ),
            ("request.userInfo.groups", Gives::Anything, ""),
            ("Object{spec: Object.spec{replicas: 1}}", Gives::Applied, ""),
            (
                "Object.spec{replicas: 1}",
                Gives::Applied,
                "must evaluate to Object but got Object.spec",
            ),
            (
                "{}",
                Gives::Applied,
                "must evaluate to Object but got map(dyn, dyn)",
            ),
            (
                "[JSONPatch{op: 'add', path: '/a', value: 1}]",
                Gives::Patch,
                "",
            ),
            (
                "[1]",
                Gives::Patch,
                "must evaluate to list(JSONPatch) but got list(int)",
            ),
            (
                "jsonpatch.escapeKey('a/b') == 'a~1b' ? [JSONPatch{}] : []",
                Gives::Patch,
                "",
            ),
        ] {
            assert_eq!(fault(&compiler, text, gives), wanted, "{text}");
        }
    }

    #[test]
    fn what_expressions_may_ask_for() {
        let compiler = Compiler::new(false);
        for (text, wanted) in [
            ("params.x == 1", "undeclared reference to 'params'"),
            ("variables.x == 1", "undeclared reference to 'variables'"),
            ("request.object == null", "undefined field 'object'"),
            (
                "namespaceObject.metadata.uid == ''",
                "undefined field 'uid'",
            ),
            ("Object{} == Object{}", "undeclared reference to 'Object'"),
        ] {
            let said = fault(&compiler, text, Gives::Bool);
            assert!(said.contains(wanted), "{text}: {said}");
        }
        for text in [
            "authorizer.requestResource.check('get').allowed()",
            "authorizer.group('').resource('pods').check('get').allowed()",
            "namespaceObject.metadata.labels['a'] == request.name",
            "oldObject == null || object.x == 1",
        ] {
            assert_eq!(fault(&compiler, text, Gives::Bool), "", "{text}");
        }
        assert!(
            compiler
                .compile_unasked("authorizer == null", Gives::Bool)
                .is_err()
        );
        assert_eq!(
            fault(&Compiler::new(true), "params == null", Gives::Bool),
            ""
        );
    }

    #[test]
    fn variables_are_known_with_their_types_to_what_comes_later() {
        let mut compiler = Compiler::new(false).with_variables();
        assert!(compiler.variable("early", "variables.number == 1").is_err());
        compiler.variable("number", "1 + 1").expect("a variable");
        for (text, wanted) in [
            ("variables.number == 2", ""),
            (
                "variables.number == 'a'",
                "found no matching overload for '_==_' applied to '(int, string)'",
            ),
            ("variables.other == 2", "undefined field 'other'"),
            ("variables.early == 2", ""),
        ] {
            let said = fault(&compiler, text, Gives::Bool);
            assert!(
                said.contains(wanted) && wanted.is_empty() == said.is_empty(),
                "{text}: {said}"
            );
        }
    }
}
