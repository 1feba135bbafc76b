//! What mutations that are JSON patches need: `jsonpatch.escapeKey`, and the type of `JSONPatch{..}`. Not in the base environment.
//! Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/jsonpatch.go` and `pkg/cel/mutation/jsonpatch.go`.

use super::text;
use crate::declared::{Declared, Property};
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the type of operations.
pub const TYPE: &str = "JSONPatch";

pub fn library() -> Library {
    let escape = Function::new("jsonpatch.escapeKey").global(
        "string_jsonpatch_escapeKey_string",
        &[Type::String],
        Type::String,
        |args| {
            let escaped = text(args, 0)?.replace('~', "~0").replace('/', "~1");
            Ok(Value::string(escaped))
        },
    );
    let property = |declared: Declared| Property {
        declared: Arc::new(declared),
        required: false,
        defaulted: false,
    };
    let fields = BTreeMap::from([
        ("op".to_owned(), property(Declared::string(0))),
        ("path".to_owned(), property(Declared::string(0))),
        ("from".to_owned(), property(Declared::string(0))),
        ("value".to_owned(), property(Declared::dynamic())),
    ]);
    Library {
        functions: vec![escape],
        types: Declared::object(TYPE, fields).ty.into_iter().collect(),
    }
}
