//! Expressions about claims and users.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication/cel` and the conversions in `plugin/pkg/authenticator/token/oidc/oidc.go`.

use std::sync::LazyLock;

use serde_json::Value as Json;
use skiff_api::machinery::{
    cel::{
        self, Activation, Compiled, Declared, Env, Issues, PER_CALL_LIMIT, Type, Value,
        value::from_json_as,
    },
    field::{Errors, Path},
};

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Claims,
    User,
}

struct Environment {
    variable: &'static str,
    env: Env,
    /// How its data is read.
    data: Declared,
}

impl Environment {
    fn new(variable: &'static str, ty: Type) -> Environment {
        let env = cel::env().extend().variable(variable, ty.clone());
        Environment {
            variable,
            env: env.build(),
            data: Declared::untyped(ty),
        }
    }
}

static CLAIMS: LazyLock<Environment> =
    LazyLock::new(|| Environment::new("claims", Type::map(Type::String, Type::Any)));

static USER: LazyLock<Environment> = LazyLock::new(|| {
    let list = || Type::list(Type::String);
    let ty = Type::object_of(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", list()),
            ("extra", Type::map(Type::String, list())),
        ],
    );
    Environment::new("user", ty)
});

impl About {
    fn environment(self) -> &'static Environment {
        match self {
            About::Claims => &CLAIMS,
            About::User => &USER,
        }
    }
}

/// What an expression must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    Bool,
    /// It is looked at when there is a value.
    Anything,
}

/// Why an expression cannot be used.
#[derive(thiserror::Error, Debug)]
pub enum Fault {
    #[error("compilation failed: {0}")]
    Invalid(Issues),
    #[error("must evaluate to bool")]
    Type,
    #[error("program instantiation failed: {0}")]
    Uninstantiated(String),
}

/// Why an expression has no value that could be used.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum Unevaluated {
    #[error("expression '{text}' resulted in error: {why}")]
    Error { text: String, why: String },
    #[error("expression must return a string or a list of strings")]
    NoTexts,
    #[error("username claim expression must return a string")]
    NoName,
    #[error("uid claim expression must return a string")]
    NoUid,
    #[error("validation expression must return a boolean")]
    NoBool,
    #[error("validation expression '{text}' failed: {message}")]
    Failed { text: String, message: String },
}

#[derive(Debug)]
pub struct Expression {
    text: String,
    about: About,
    compiled: Compiled,
}

impl Expression {
    /// # Errors
    /// It cannot be used.
    pub fn compile(text: &str, about: About, gives: Gives) -> Result<Expression, Fault> {
        let compiled = about.environment().env.compile(text);
        let compiled = compiled.map_err(Fault::Invalid)?;
        if gives == Gives::Bool && *compiled.output_type() != Type::Bool {
            return Err(Fault::Type);
        }
        if let Err(why) = compiled.instantiated() {
            return Err(Fault::Uninstantiated(why.to_string()));
        }
        Ok(Expression {
            text: text.into(),
            about,
            compiled,
        })
    }

    /// The same; what is wrong with it goes to `errors`.
    pub fn checked(
        text: &str,
        about: About,
        gives: Gives,
        path: &Path,
        errors: &mut Errors,
    ) -> Option<Expression> {
        match Expression::compile(text, about, gives) {
            Ok(expression) => Some(expression),
            Err(fault @ Fault::Uninstantiated(_)) => {
                errors.internal(path, fault.to_string());
                None
            }
            Err(fault) => {
                errors.invalid(path, text, fault.to_string());
                None
            }
        }
    }

    /// Whether it asks for this claim by its name.
    pub fn uses_claim(&self, claim: &str) -> bool {
        self.compiled.selects(CLAIMS.variable, claim)
    }

    fn value<'a>(&'a self, data: &'a Json) -> Result<Value<'a>, Unevaluated> {
        let environment = self.about.environment();
        let error = |why: &dyn std::fmt::Display| Unevaluated::Error {
            text: self.text.clone(),
            why: why.to_string(),
        };
        let data = from_json_as(data, &environment.data).map_err(|why| error(&why))?;
        let activation = Activation::new().with(environment.variable, data);
        let (outcome, _) = self.compiled.evaluate(&activation, PER_CALL_LIMIT);
        outcome.map_err(|why| error(&why))
    }

    /// A text; `otherwise` says what is wrong with another value.
    pub fn text(&self, data: &Json, otherwise: Unevaluated) -> Result<String, Unevaluated> {
        let value = self.value(data)?;
        value.as_str().map(Into::into).ok_or(otherwise)
    }

    /// Texts, none of them empty: one, those of a list, or none for `null`.
    pub fn texts(&self, data: &Json) -> Result<Vec<String>, Unevaluated> {
        let mut texts: Vec<String> = match self.value(data)? {
            Value::Null => Vec::new(),
            Value::String(text) => vec![text.as_str().into()],
            Value::List(list) => {
                let text = |value: Value<'_>| value.as_str().map(Into::into);
                let read = list.iter().map(|value| value.ok().and_then(text));
                read.collect::<Option<_>>().ok_or(Unevaluated::NoTexts)?
            }
            _ => return Err(Unevaluated::NoTexts),
        };
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// That it holds; `message` is said where it does not.
    pub fn holds(&self, data: &Json, message: &str) -> Result<(), Unevaluated> {
        match self.value(data)?.as_bool() {
            Some(true) => Ok(()),
            Some(false) => Err(Unevaluated::Failed {
                text: self.text.clone(),
                message: message.into(),
            }),
            None => Err(Unevaluated::NoBool),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(text: &str) -> Expression {
        Expression::compile(text, About::Claims, Gives::Anything).unwrap()
    }

    #[test]
    fn texts_of_claims() {
        let data =
            json!({"a": "x", "list": ["b", "", "c"], "n": 1, "none": null, "d.e": {"f": ["g"]}});
        let texts = |text: &str| claims(text).texts(&data);
        for (text, wanted) in [
            ("claims.a", vec!["x"]),
            ("''", vec![]),
            ("claims.list", vec!["b", "c"]),
            ("claims.none", vec![]),
            ("claims.d__dot__e.f + [claims.a]", vec!["g", "x"]),
            ("claims.list.filter(x, x != 'b')", vec!["c"]),
        ] {
            assert_eq!(
                texts(text),
                Ok(wanted.into_iter().map(String::from).collect()),
                "{text}"
            );
        }
        for text in ["claims.n", "[1]", "claims['d.e']"] {
            assert_eq!(texts(text), Err(Unevaluated::NoTexts), "{text}");
        }
        assert_eq!(
            texts("claims.nosuch").unwrap_err().to_string(),
            "expression 'claims.nosuch' resulted in error: no such key: nosuch"
        );
    }

    #[test]
    fn what_can_be_used() {
        let fault = |text: &str, about, gives| {
            let compiled = Expression::compile(text, about, gives);
            compiled
                .err()
                .map_or(String::new(), |fault| fault.to_string())
        };
        assert_eq!(fault("claims.a == 'b'", About::Claims, Gives::Bool), "");
        assert_eq!(
            fault("claims.a", About::Claims, Gives::Bool),
            "must evaluate to bool"
        );
        assert!(
            fault("user.name == ''", About::User, Gives::Bool).contains("undefined field 'name'")
        );
        assert!(
            fault("user.uid", About::Claims, Gives::Bool)
                .contains("undeclared reference to 'user'")
        );
        let user = Expression::compile(
            "!user.username.startsWith('system:') && user.extra.example__dot__com__slash__a[0] == 'b'",
            About::User,
            Gives::Bool,
        )
        .unwrap();
        let data =
            json!({"username": "a", "uid": "", "groups": [], "extra": {"example.com/a": ["b"]}});
        assert_eq!(user.holds(&data, "no"), Ok(()));
        let data = json!({"username": "system:a", "uid": "", "groups": [], "extra": {}});
        let said = user.holds(&data, "no").unwrap_err();
        assert!(said.to_string().ends_with("failed: no"), "{said}");
    }
}
