//! What happens to an object of a built-in kind that comes in: defaults, preparation, validation, warnings, the cells of its row; and over another one.

use jiff::Timestamp;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Stamp, Subresource},
    machinery::object_meta,
};

use super::{NAMES, object_of, told};
use crate::{Target, parts, seeds};

pub const KINDS: Target = Target::new("kinds", run, begin).words(NAMES).worth(1024);

fn begin() -> Vec<Vec<u8>> {
    seeds::objects()
        .iter()
        .map(|object| seeds::joined(&[object, object]))
        .collect()
}

fn run(data: &[u8]) {
    let [one, other] = parts(data);
    let Some((kind, object)) = object_of(one) else {
        return;
    };
    let made = created(kind, object);
    if let Some((of, new)) = object_of(other)
        && std::ptr::eq(of, kind)
    {
        updated(kind, new, &made);
    }
}

fn created(kind: &Kind, mut object: Value) -> Value {
    let strategy = &kind.strategy;
    (strategy.defaults)(&mut object);
    (strategy.early_warnings)(&object);
    (strategy.prepare_for_create)(&mut object);
    stamp(kind, &mut object, None);
    (strategy.after_system_fields)(&mut object);
    let errors = object_meta::validate(&object, kind.namespaced, |name, _| {
        (strategy.name_problems)(&object, name)
    });
    told(&errors);
    told(&kind.validate(&object));
    kind.warnings(&object, None);
    shown(kind, &object);
    object
}

fn updated(kind: &Kind, new: Value, old: &Value) {
    let strategy = &kind.strategy;
    let mut object = new.clone();
    kind.defaults(&mut object);
    (strategy.prepare_for_update)(&mut object, old);
    stamp(kind, &mut object, Some(old));
    told(&object_meta::validate_update(&object, old));
    told(&kind.validate_update(&object, old, &mut |_| {}));
    kind.warnings(&object, Some(old));
    for part in &kind.subresources {
        let mut object = new.clone();
        kind.defaults(&mut object);
        if *part == Subresource::Status {
            (strategy.prepare_for_status_update)(&mut object, old);
            told(&(strategy.validate_status_update)(&object, old));
        }
        if let Some(part) = strategy.part(part.name()) {
            (part.prepare)(&mut object, old);
        }
        told(&kind.validate_part(*part, &object, old, &mut |_| {}));
    }
}

fn stamp(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    let user = serde_json::json!({"username": "a", "uid": "u", "groups": ["g"]});
    let by = Stamp {
        now: "2026-02-03T04:05:06Z",
        user: &user,
    };
    if let Some(stamp) = kind.strategy.stamp {
        stamp(object, old, &by);
    }
}

fn shown(kind: &Kind, object: &Value) {
    let strategy = &kind.strategy;
    let now = Timestamp::UNIX_EPOCH;
    kind.printer.cells(object, now);
    (strategy.row_conditions)(object);
    strategy.default_grace.map(|grace| grace(object));
    (strategy.skips_grace)(object);
    (strategy.held)(object);
    kind.selectable
        .iter()
        .for_each(|field| drop(field.value(object)));
    if let Some(alias) = strategy.stored_as {
        let mut stored = object.clone();
        (alias.to_stored)(&mut stored);
        (alias.from_stored)(&mut stored);
    }
}
