//! Expressions: parsed, checked, estimated, and evaluated within what one call may cost.

use serde_json::{Value, json};
use skiff_api::machinery::cel::admission::{Compiler, Gives};
use skiff_api::machinery::cel::{Activation, PER_CALL_LIMIT, declare_root, devices, env, value};

use crate::{Target, seeds, texts};

pub const CEL: Target = Target::new("cel", run, begin)
    .words(&[
        "self",
        "oldSelf",
        "self.spec",
        "self.l",
        "self.m",
        "self.s",
        "self.n",
        "x",
        "true",
        "null",
        "1",
        "1u",
        "1.5",
        "'a'",
        "b'a'",
        "r'\\d'",
        "'''",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ".",
        "?",
        ":",
        "&&",
        "||",
        "==",
        "in",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "[0]",
        ".?",
        "[?0]",
        ".all(x, x)",
        ".exists(x, x == 1)",
        ".map(x, x)",
        ".filter(x, true)",
        ".size()",
        ".matches('a*')",
        ".format(['a'])",
        ".split(',')",
        ".join()",
        ".replace('a','bb')",
        ".sum()",
        ".sort()",
        "quantity('1Gi')",
        "ip('1.2.3.4')",
        "cidr('10.0.0.0/8')",
        "url('http://a/b')",
        "semver('1.2.3')",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
        "optional.of(1)",
        "dyn(1)",
        "type(1)",
        "int('1')",
        "string(1)",
        "cel.bind(x, 1, x)",
        "sets.contains([1],[1])",
        ".substring(1)",
        ".lastIndexOf('a')",
        ".indexOf('a')",
        ".findAll('.')",
        "has(self.a)",
    ])
    .worth(2048)
    // what is evaluated may make values up to its limit of cost
    .always(32 << 20);

#[derive(serde::Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    cel: String,
}

fn begin() -> Vec<Vec<u8>> {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string", "maxLength": 100},
        "n": {"type": "integer"},
        "l": {"type": "array", "maxItems": 100, "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "spec": {"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}, "x": {"x-kubernetes-int-or-string": true}}},
    }});
    let object = json!({"s": "tacocat", "n": 5, "l": ["a", "b"], "m": {"k": 1}, "spec": {"t": "2026-01-02T03:04:05Z", "x": 80}});
    let mut all = Vec::new();
    let mut add = |text: &str| {
        all.push(seeds::joined(&[
            text.to_owned(),
            schema.to_string(),
            object.to_string(),
        ]))
    };
    add(
        "self.l.all(x, x.matches('^[a-z]+$')) && self.m.all(k, self.m[k] > 0) && self.spec.t > timestamp('2020-01-01T00:00:00Z')",
    );
    add("self.s + self.l.map(x, x + self.s).join(',') == oldSelf.s ? self.n : -self.n");
    for file in ["basics", "extensions", "syntax", "values"] {
        let text = seeds::read(format!("cel/{file}.yaml"));
        let read: Cases = serde_yaml_ng::from_slice(&text).unwrap();
        read.cases.iter().for_each(|case| add(&case.cel));
    }
    all
}

fn run(data: &[u8]) {
    let Some([text, schema, object]) = texts(data) else {
        return;
    };
    let (Ok(schema), Ok(object)) = (
        serde_json::from_str::<Value>(schema),
        serde_json::from_str::<Value>(object),
    ) else {
        return;
    };
    let declared = declare_root(&schema, "t");
    let env = env()
        .extend()
        .declared("self", &declared)
        .declared("oldSelf", &declared)
        .build();
    match env.compile(text) {
        Ok(compiled) => {
            compiled.cost_estimate();
            let (Ok(new), Ok(old)) = (
                value::from_json_as(&object, &declared),
                value::from_json_as(&object, &declared),
            ) else {
                return;
            };
            let activation = Activation::new().with("self", new).with("oldSelf", old);
            // a part of what it may cost, so that a run stays short
            let (outcome, cost) = compiled.evaluate(&activation, PER_CALL_LIMIT / 10);
            drop((outcome.map(|value| value.type_name().to_owned()), cost));
        }
        Err(issues) => drop(issues.to_string()),
    }
    let compiler = Compiler::new(true);
    let _ = compiler
        .compile(text, Gives::Anything)
        .map_err(|fault| fault.to_string());
    let _ = devices::compile(text).map_err(|fault| fault.to_string());
}
