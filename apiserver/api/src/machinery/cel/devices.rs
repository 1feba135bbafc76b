//! Expressions that select devices.
//!
//! Invariant: what is stored was compiled here, in the one environment in which a device would be asked, and costs no more than a scheduler may spend on it.
//! Follows `staging/src/k8s.io/dynamic-resource-allocation/cel/compile.go`, with what is on by default in v1.36.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use skiff_cel::{Compiled, Declared, Env, Issues, Type, declared::Property};

use super::quantity;

/// The most that an expression may cost for one device.
pub const MAX_COST: u64 = 1_000_000;
const MAX_DRIVER_BYTES: u64 = 63;
const MAX_ATTRIBUTE_BYTES: u64 = 64;
const MAX_ATTRIBUTES: u64 = 32;

/// Why devices cannot be selected by an expression.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    #[error("compilation failed: {0}")]
    Invalid(Issues),
    #[error("must evaluate to bool or the unknown type, not {0}")]
    Type(String),
    /// It is without fault and cannot be evaluated: a constant pattern that is none.
    #[error("program instantiation failed: {0}")]
    Uninstantiated(String),
    #[error("too complex, exceeds cost limit")]
    Costly,
}

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let device = Arc::new(device());
    super::env()
        .extend()
        .bindings()
        .declared("device", &device)
        .build()
});

/// The variable `device`. Attributes and capacities stand below their domain, by name.
fn device() -> Declared {
    let by_name = |of: Declared| {
        let inner = Declared::map(Arc::new(of), Some(MAX_ATTRIBUTES));
        Declared::map(Arc::new(inner), Some(MAX_ATTRIBUTES))
    };
    let attribute = Declared {
        max_elements: MAX_ATTRIBUTE_BYTES,
        ..Declared::of_type(Type::Any)
    };
    let sized_bool = Declared {
        max_elements: 1,
        ..Declared::bool()
    };
    let fields = [
        ("driver", Declared::string(MAX_DRIVER_BYTES)),
        ("allowMultipleAllocations", sized_bool),
        ("attributes", by_name(attribute)),
        (
            "capacity",
            by_name(Declared::of_type(Type::object(quantity::TYPE))),
        ),
    ];
    let properties: BTreeMap<String, Property> = fields
        .into_iter()
        .map(|(name, declared)| {
            let property = Property {
                declared: Arc::new(declared),
                required: true,
                defaulted: false,
            };
            (name.to_owned(), property)
        })
        .collect();
    Declared::object("kubernetes.DRADevice", properties)
}

/// Compiles an expression that is true of the devices that it selects.
///
/// # Errors
/// It does not compile, gives something else than a truth value, or may cost too much.
pub fn compile(expression: &str) -> Result<Compiled, Fault> {
    let compiled = ENV.compile(expression).map_err(Fault::Invalid)?;
    if !matches!(compiled.output_type(), Type::Bool | Type::Any) {
        return Err(Fault::Type(compiled.output_type().to_string()));
    }
    compiled
        .instantiated()
        .map_err(|why| Fault::Uninstantiated(why.to_string()))?;
    match compiled.cost_estimate().max > MAX_COST {
        true => Err(Fault::Costly),
        false => Ok(compiled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_selects_devices() {
        let table = r#"
            true                                                                             | fine
            device.driver == "gpu.example.com"                                               | fine
            device.attributes["gpu.example.com"].model == "a100"                             | fine
            device.attributes["gpu.example.com"].shared                                      | fine
            device.attributes["gpu.example.com"].version.isGreaterThan(semver("1.0.0"))      | fine
            device.capacity["gpu.example.com"].memory.compareTo(quantity("10Gi")) >= 0       | fine
            cel.bind(g, device.attributes["gpu.example.com"], g.a && g.b)                    | fine
            device.allowMultipleAllocations && "x" in device.attributes                      | fine
            device.driver                                                                    | must evaluate to bool or the unknown type, not string
            size(device.attributes)                                                          | must evaluate to bool or the unknown type, not int
            device.attributes                                                                | must evaluate to bool or the unknown type, not map(string, map(string, any))
            other                                                                            | compilation failed: ERROR: <input>:1:1: undeclared reference to 'other'
            device.nosuch == 1                                                               | compilation failed: ERROR: <input>:1:7: undefined field 'nosuch'
            device.driver.matches("(")                                                       | compilation failed: ERROR: <input>:1:23: invalid matches argument
            device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a == b && c == d)))) | too complex, exceeds cost limit
        "#;
        for [expression, wanted] in skiff_testing::table::rows_by::<2>('\u{1}', &separate(table)) {
            let found = compile(expression).map_or_else(|why| why.to_string(), |_| "fine".into());
            assert!(found.starts_with(wanted), "{expression}: {found}");
        }
    }

    /// Bars stand in expressions: the last of a line parts the columns.
    fn separate(table: &str) -> String {
        let line = |line: &str| match line.rsplit_once(" | ") {
            Some((expression, wanted)) => format!("{expression}\u{1}{wanted}\n"),
            None => String::new(),
        };
        table.lines().map(line).collect()
    }
}
