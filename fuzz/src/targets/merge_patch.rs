//! Merge patches: applied, made, and made of three documents.

use serde_json::Value;
use skiff_api::machinery::patch::{Precondition, merge};

use crate::{Target, seeds, texts};

pub const MERGE_PATCH: Target = Target::new("merge_patch", run, begin).words(super::NAMES);

fn begin() -> Vec<Vec<u8>> {
    let objects = seeds::objects();
    let three = objects.iter().zip(objects.iter().cycle().skip(1));
    three
        .map(|(one, other)| seeds::joined(&[one, other, one]))
        .collect()
}

fn run(data: &[u8]) {
    let Some(documents) = texts::<3>(data) else {
        return;
    };
    let read = |text: &str| serde_json::from_str::<Value>(text);
    let [Ok(original), Ok(modified), Ok(current)] = documents.map(read) else {
        return;
    };
    for validate in [false, true] {
        let _ = merge::apply(&mut original.clone(), modified.clone(), validate)
            .map_err(|error| error.to_string());
    }
    if let Ok(patch) = merge::create(&original, &modified) {
        let mut made = original.clone();
        merge::apply(&mut made, patch, false).unwrap();
    }
    if let Ok(patch) = merge::three_way(&original, &modified, &current, &Precondition::APPLY) {
        merge::apply(&mut current.clone(), patch, false).unwrap();
    }
}
