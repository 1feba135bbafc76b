//! That nothing runs on and on.

use serde_json::json;
use skiff_cel::{Activation, Env, EvalError, PER_CALL_LIMIT, Type, Value};
use std::time::{Duration, Instant};

#[test]
fn runaways_are_stopped() {
    let list = json!((0..10_000).collect::<Vec<i32>>());
    let env = Env::kubernetes()
        .extend()
        .variable("l", Type::list(Type::Int))
        .build();
    for rule in [
        "l.all(x, l.all(y, l.all(z, x + y + z >= 0)))",
        "l.map(x, l.map(y, l.map(z, x))).size() > 0",
        "l.all(x, l.map(y, string(x) + string(y)).join().size() > 0)",
        "l.exists(x, l.filter(y, y == x).size() > 1)",
    ] {
        let compiled = env.compile(rule).expect("it fits");
        let value = skiff_cel::value::from_json(&list);
        let activation = Activation::new().with("l", value);
        let begin = Instant::now();
        let (outcome, cost) = compiled.evaluate(&activation, PER_CALL_LIMIT);
        assert_eq!(outcome.err(), Some(EvalError::CostLimit), "{rule}");
        assert!(cost > PER_CALL_LIMIT);
        // a debug build takes ten times as long
        let most = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 100 });
        assert!(begin.elapsed() < most, "{rule}: {:?}", begin.elapsed());
    }
}

#[test]
fn nesting_is_bounded() {
    let env = Env::kubernetes();
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    for text in [
        deep("(", ")", 5000),
        deep("[", "]", 5000),
        deep("[", "].size()", 5000),
        deep("-(", ")", 5000),
        format!("1{}", " + 1".repeat(5000)),
        format!("a{}", ".b".repeat(5000)),
    ] {
        let issues = env.compile(&text).expect_err("it is too deep").to_string();
        assert_eq!(
            issues,
            "ERROR: <input>:-1:0: expression recursion limit exceeded: 250"
        );
    }
    let long = format!("'{}'", "x".repeat(100_000));
    let issues = env.compile(&long).expect_err("it is too long").to_string();
    assert!(
        issues.ends_with("expression code point size exceeds limit: size: 100002, limit 100000")
    );
    // what may be written may be evaluated
    for text in [
        deep("(", ")", 200),
        deep("[", "]", 200),
        format!("1{}", " + 1".repeat(200)),
    ] {
        let compiled = env.compile(&text).expect("it fits");
        let (outcome, _) = compiled.evaluate(&Activation::new(), PER_CALL_LIMIT);
        assert!(matches!(outcome, Ok(Value::Int(_) | Value::List(_))));
    }
}
