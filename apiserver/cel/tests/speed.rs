//! What compiling and evaluating cost in time, and that nothing runs on and on.

use serde_json::json;
use skiff_cel::declared::{ListKind, Property};
use skiff_cel::value::from_json_as;
use skiff_cel::{Activation, Declared, Env, EvalError, PER_CALL_LIMIT, Type, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules as definitions have them, of an object with a name, a count, labels and ports.
const RULES: [&str; 10] = [
    "self.count > 0",
    "self.count >= 1 && self.count <= 100",
    "has(self.name) && self.name.size() < 64",
    "self.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "self.name in ['web', 'api', 'db']",
    "self.ports.all(p, p.number > 0 && p.number < 65536)",
    "self.ports.exists_one(p, p.name == 'http')",
    "self.ports.map(p, p.number).sum() > 80",
    "self.labels.all(k, self.labels[k] != '')",
    "!has(self.missing) || self.missing == 'x' ? true : false",
];

fn declared() -> Declared {
    let property = |declared: Declared| Property {
        declared: Arc::new(declared),
        required: false,
        defaulted: false,
    };
    let object = |fields: Vec<(&str, Declared)>| {
        let fields = fields
            .into_iter()
            .map(|(name, of)| (name.to_owned(), property(of)));
        Declared::object("object", fields.collect::<BTreeMap<_, _>>())
    };
    let port = object(vec![
        ("name", Declared::string(63)),
        ("number", Declared::int()),
    ]);
    object(vec![
        ("name", Declared::string(253)),
        ("count", Declared::int()),
        ("missing", Declared::string(10)),
        (
            "ports",
            Declared::list(Arc::new(port), ListKind::Atomic, Some(10)),
        ),
        (
            "labels",
            Declared::map(Arc::new(Declared::string(63)), Some(10)),
        ),
    ])
}

#[test]
#[ignore = "prints figures: run it by name, built with --release"]
fn figures() {
    const ROUNDS: u32 = 2000;
    let data = json!({
        "name": "web",
        "count": 3,
        "ports": [{"name": "http", "number": 80}, {"name": "https", "number": 443}],
        "labels": {"app": "web", "tier": "front"},
    });
    let of = Arc::new(declared());
    let env = Env::kubernetes().extend().declared("self", &of).build();
    for rule in RULES {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(env.compile(rule).expect("it fits"));
        }
        let compile = begin.elapsed() / ROUNDS;
        let compiled = env.compile(rule).expect("it fits");
        let begin = Instant::now();
        let mut cost = 0;
        for _ in 0..ROUNDS {
            let itself = from_json_as(&data, &of).expect("it is an object");
            let activation = Activation::new().with("self", itself);
            let (outcome, spent) = compiled.evaluate(&activation, PER_CALL_LIMIT);
            assert_eq!(outcome.expect("a value").as_bool(), Some(true), "{rule}");
            cost = spent;
        }
        let evaluate = begin.elapsed() / ROUNDS;
        println!("{compile:>12?} {evaluate:>12?} {cost:>4}  {rule}");
    }
}

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
