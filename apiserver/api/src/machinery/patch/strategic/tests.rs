//! Runs the cases of `testdata/strategic`. With `UPDATE_GOLDEN=1` what came out is written back instead of compared.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::machinery::patch::Precondition;
use crate::machinery::schema::Schema;

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/strategic"
    ))
}

/// What a case gives: the result, or `{"error": …, "status": …}`.
fn outcome(case: &Value) -> Value {
    let root = Schema::builtin()
        .get(case["type"].as_str().unwrap())
        .unwrap_or_else(|| panic!("no type {}", case["type"]));
    let failed = |e: StrategicError| json!({"error": e.to_string(), "status": e.status().code});
    let get = |name: &str| case.get(name).cloned().unwrap_or(Value::Null);
    let preconditions = if case.get("preconditions").is_some() {
        &Precondition::APPLY[..]
    } else {
        &[]
    };
    match case["do"].as_str().unwrap() {
        "apply" => apply(&get("original"), &get("patch"), root).unwrap_or_else(failed),
        "two-way" => {
            let (original, modified) = (get("original"), get("modified"));
            match two_way(&original, &modified, root, preconditions) {
                Ok(patch) => {
                    let object = if original.is_null() {
                        json!({})
                    } else {
                        original
                    };
                    let applied = apply(&object, &patch, root).unwrap_or_else(failed);
                    json!({"patch": patch, "applied": applied})
                }
                Err(e) => failed(e),
            }
        }
        "three-way" => {
            let overwrite = case.get("overwrite") != Some(&json!(false));
            match three_way(
                &get("original"),
                &get("modified"),
                &get("current"),
                root,
                overwrite,
                preconditions,
            ) {
                Ok(patch) => {
                    let applied = apply(&get("current"), &patch, root).unwrap_or_else(failed);
                    json!({"patch": patch, "applied": applied})
                }
                Err(e) => failed(e),
            }
        }
        other => panic!("unknown case {other}"),
    }
}

#[test]
fn cases() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let mut cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for case in &mut cases {
            ran += 1;
            let got = outcome(case);
            if update {
                case["wanted"] = got;
            } else if case["wanted"] != got {
                wrong.push(format!(
                    "{}: {}\n  wanted {}\n  got    {got}",
                    file.display(),
                    case["name"],
                    case["wanted"]
                ));
            }
        }
        if update {
            let lines: Vec<String> = cases.iter().map(|c| format!("  {c}")).collect();
            std::fs::write(&file, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
        }
    }
    assert!(ran >= 60, "only {ran} cases");
    assert!(
        wrong.is_empty(),
        "{} of {ran} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// As it is said to work, one step after the other.
fn deduplicated_slowly(mut list: Vec<Value>) -> Vec<Value> {
    let mut i = 0;
    while i < list.len() {
        let mut j = i + 1;
        while j < list.len() {
            if list[i] == list[j] {
                list.swap_remove(j);
            } else {
                j += 1;
            }
        }
        i += 1;
    }
    list
}

#[test]
fn duplicates_go_in_the_same_order_however_many_there_are() {
    let mut seed = 1u32;
    for length in 0..60 {
        let list: Vec<Value> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Value::from(seed >> 28)
            })
            .collect();
        assert_eq!(list::deduplicate(list.clone()), deduplicated_slowly(list));
    }
}

/// Forty thousand elements, which took the square of their number.
#[test]
fn long_lists_are_merged_in_time() {
    let items = |from: usize, image: &str| -> Vec<Value> {
        let one = |n: usize| serde_json::json!({"name": format!("c{n}"), "image": image});
        (from..from + 20_000).map(one).collect()
    };
    let live = serde_json::json!({"spec": {"containers": items(0, "a")}});
    let patch = serde_json::json!({"spec": {"containers": items(10_000, "b")}});
    let node = Schema::builtin().get("core.v1.Pod").unwrap();
    let merged = apply::apply(&live, &patch, node).unwrap();
    assert_eq!(
        merged["spec"]["containers"].as_array().unwrap().len(),
        30_000
    );
    let numbers: Vec<Value> = (0..40_000).map(|n| Value::from(n % 30_000)).collect();
    assert_eq!(list::deduplicate(numbers).len(), 30_000);
}
