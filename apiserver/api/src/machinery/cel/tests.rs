//! Dev.
use super::*;
use serde_json::Value as Json;
use skiff_cel::value::from_json_as;

#[test]
fn facts() {
    let Ok(path) = std::env::var("CEL_FACTS") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let facts: Vec<Json> = serde_json::from_str(&text).unwrap();
    let (mut n, mut bad) = (0, 0);
    for fact in &facts {
        let root = fact["root"].as_bool().unwrap_or(true);
        let d = if root {
            declare_root(&fact["schema"], "selfType")
        } else {
            declare(&fact["schema"], "selfType")
        };
        let env = env()
            .extend()
            .declared("self", &d)
            .declared("oldSelf", &d)
            .build();
        for case in fact["cases"].as_array().unwrap() {
            n += 1;
            let cel = case["cel"].as_str().unwrap();
            let mut say = |m: String| {
                bad += 1;
                println!("{} | {cel}\n      {case}\n      -> {m}", fact["name"]);
            };
            let compiled = match env.compile(cel) {
                Ok(c) => c,
                Err(e) => {
                    let e = e.to_string();
                    match case["contains"].as_str() {
                        Some(c) if e.contains(c) => {}
                        _ => say(e),
                    }
                    continue;
                }
            };
            if let Err(e) = compiled.instantiated() {
                if !case["contains"]
                    .as_str()
                    .is_some_and(|c| e.to_string().contains(c))
                {
                    say(format!("unmade {e}"));
                }
                continue;
            }
            let est = compiled.cost_estimate();
            if let Some(max) = case["max"].as_u64() {
                if max != est.max {
                    say(format!("max {} min {}", est.max, est.min));
                }
                continue;
            }
            let null = Json::Null;
            let me = fact.get("self").unwrap_or(&null);
            let mut act = Activation::new();
            match from_json_as(me, &d) {
                Ok(v) => act.set("self", v),
                Err(e) => {
                    say(format!("self {e}"));
                    continue;
                }
            }
            if let Some(old) = fact.get("old").filter(|o| !o.is_null()) {
                if let Ok(v) = from_json_as(old, &d) {
                    act.set("oldSelf", v)
                }
            }
            let (out, cost) = compiled.evaluate(&act, 10_000_000);
            match &out {
                Ok(Value::Bool(true)) if case["contains"].is_null() => {}
                Ok(Value::Bool(false))
                    if case["contains"]
                        .as_str()
                        .is_some_and(|c| format!("failed rule: {cel}").contains(c)) => {}
                Err(e)
                    if case["contains"]
                        .as_str()
                        .is_some_and(|c| e.to_string().contains(c)) => {}
                other => say(format!("{other:?}")),
            }
            if let Some(c) = case["cost"].as_u64() {
                if c != cost {
                    say(format!("cost {cost}"))
                }
            }
            if out.is_ok() && cost > est.max {
                say(format!("cost {cost} > est {}", est.max))
            }
        }
    }
    println!("{bad} bad of {n}");
}
