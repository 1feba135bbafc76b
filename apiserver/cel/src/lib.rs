//! The Common Expression Language, as Kubernetes uses it: validation rules of custom resources, admission policies, match conditions of webhooks,
//! authentication and device selectors.
//!
//! ```
//! use skiff_cel::{Activation, Env, PER_CALL_LIMIT, Type, Value};
//!
//! let env = Env::kubernetes().extend().variable("self", Type::Int).build();
//! let rule = env.compile("self % 2 == 0").unwrap();
//! assert_eq!(*rule.output_type(), Type::Bool);
//! let (outcome, cost) = rule.evaluate(&Activation::new().with("self", Value::Int(4)), PER_CALL_LIMIT);
//! assert_eq!((outcome.unwrap().as_bool(), cost), (Some(true), 3));
//! ```
//!
//! From text to value: [`parse`] makes a tree, [`check`] gives each node its type, [`plan`] makes of it what [`eval`] walks; [`cost`] says before and while
//! what it costs; [`library`] has the functions. Data is [`declared::Declared`] and read from JSON where it stands ([`value::from_json_as`]).
//!
//! Invariant: no input makes it recurse or run without bound. It knows nothing of the API: who embeds it adds what needs knowledge of quantities and names.
//! Messages, costs and limits are those of upstream's `vendor/github.com/google/cel-go` and `staging/src/k8s.io/apiserver/pkg/cel` at v1.36.

mod ast;
mod call;
mod check;
mod compiled;
pub mod cost;
pub mod declared;
mod env;
mod error;
pub mod escape;
mod eval;
pub mod function;
pub mod library;
mod parse;
mod plan;
pub mod quote;
pub mod regex;
mod source;
mod types;
pub mod value;

pub use compiled::{Compiled, InstantiationError, PER_CALL_LIMIT};
pub use declared::Declared;
pub use env::{Env, EnvBuilder, Variable};
pub use error::EvalError;
pub use eval::Activation;
pub use function::{Function, Library};
pub use source::{Issue, Issues};
pub use types::{Fields, ObjectType, OpaqueType, Type};
pub use value::{Outcome, Value};
