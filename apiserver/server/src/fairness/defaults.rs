//! The FlowSchemas and PriorityLevelConfigurations that every cluster has: made when absent, and kept as this version of the program has them.
//!
//! Invariant: a suggested object that somebody changed is left alone, unless its annotation says otherwise; a mandatory one is not. What an older
//! version made, and this one does not know, goes.
//! Follows `pkg/registry/flowcontrol/{ensurer,rest}`.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use skiff_api::{
    kinds::rows::flowcontrol::bootstrap::{
        flow_schemas, mandatory_flow, mandatory_level, priority_levels,
    },
    machinery::{
        meta::{Meta, child_mut},
        read::Read,
        status::Status,
    },
};

use super::{FLOWS, LEVELS, all};
use crate::{
    own::{Own, ready},
    write::{Part, Writer},
};

const KEPT: &str = "apf.kubernetes.io/autoupdate-spec";

/// Whether every cluster must have it.
fn is_mandatory(resource: &str, name: &str) -> bool {
    match resource {
        LEVELS => mandatory_level(name).is_some(),
        _ => mandatory_flow(name).is_some(),
    }
}

fn own(writer: &Arc<Writer>) -> Own {
    Own::managing(writer, "api-priority-and-fairness-config-producer-v1")
}

fn defaults() -> impl Iterator<Item = (&'static str, Value)> {
    let levels = priority_levels().map(|level| (LEVELS, level));
    levels.chain(flow_schemas().map(|flow| (FLOWS, flow)))
}

/// All of them, and none that is one no more.
pub async fn ensure(writer: &Arc<Writer>) -> Result<(), Status> {
    let own = &own(writer);
    let writes: Vec<_> = defaults()
        .map(|(resource, value)| one(own, resource, value))
        .collect();
    let made = stream::iter(writes).buffer_unordered(32);
    made.try_collect::<()>().await?;
    for resource in [FLOWS, LEVELS] {
        for object in all(&writer.core, resource) {
            let known =
                defaults().any(|(of, default)| of == resource && default.name() == object.name());
            if !known && kept(&object) == Some(true) {
                own.delete(resource, "", object.name()).await?;
            }
        }
    }
    Ok(())
}

/// Those that must be there.
pub async fn ensure_mandatory(writer: &Arc<Writer>) -> Result<(), Status> {
    let own = &own(writer);
    for (resource, value) in defaults() {
        if is_mandatory(resource, value.name()) {
            one(own, resource, value).await?;
        }
    }
    Ok(())
}

async fn one(own: &Own, resource: &'static str, value: Value) -> Result<(), Status> {
    let row = own.row(resource)?;
    let name = value.name().to_string();
    let Some(found) = own.stored(row, "", &name)? else {
        return own.ensure(resource, value).await;
    };
    let (expected, mandatory) = (ready(row, value)?, is_mandatory(resource, &name));
    if revised(&found, &expected, mandatory).is_none() {
        return Ok(());
    }
    let mut compute = |live: Option<&Value>| {
        let live = live.unwrap_or(&expected);
        Ok(revised(live, &expected, mandatory).unwrap_or_else(|| live.clone()))
    };
    let done = own
        .update(row, ("", &name), Part::Whole, &mut compute)
        .await;
    match done {
        // it has gone meanwhile, and is made the next time
        Err(status) if status.code == 404 => Ok(()),
        done => done,
    }
}

/// What the annotation of an object says of keeping it.
fn kept(object: &Value) -> Option<bool> {
    let said = object.at("metadata").at("annotations").text_ptr(KEPT)?;
    // as Go reads what is true or false
    match said {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The object as it is to be; `None`: as it is.
fn revised(live: &Value, expected: &Value, mandatory: bool) -> Option<Value> {
    let unchanged = live.at("metadata").int("generation") == 1;
    let keep = mandatory || kept(live).unwrap_or(unchanged);
    let spec = spec_for(live, expected);
    let outdated = keep && spec != *live.at("spec");
    if !outdated && kept(live) == Some(keep) {
        return None;
    }
    let mut new = live.clone();
    if outdated {
        new["spec"] = spec;
    }
    if kept(live) != Some(keep) {
        let annotations = child_mut(&mut new["metadata"], "annotations");
        annotations.insert(KEPT.into(), json!(keep.to_string()));
    }
    Some(new)
}

/// The specification that an object is to have: what is exempt is so with the seats that somebody gave it.
fn spec_for(live: &Value, expected: &Value) -> Value {
    let mut spec = expected.at("spec").clone();
    let given = live.at("spec").some("exempt");
    if let (Some(given), Some(exempt)) = (given, spec.get_mut("exempt")) {
        *exempt = given.clone();
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_no_updates_gets_none() {
        let object = |kept: &str, generation: i64, spec: i64| {
            let mut object = json!({"metadata": {"generation": generation}, "spec": {"a": spec}});
            if !kept.is_empty() {
                object["metadata"]["annotations"] = json!({KEPT: kept});
            }
            object
        };
        let expected = object("true", 1, 2);
        // the annotation, the generation, the field; of mandatory and of suggested objects what they become
        for (live, mandatory, suggested) in [
            (("true", 3, 1), Some(("true", 2)), Some(("true", 2))),
            (("true", 3, 2), None, None),
            (("false", 1, 1), Some(("true", 2)), None),
            (("false", 1, 2), Some(("true", 2)), None),
            (("", 1, 1), Some(("true", 2)), Some(("true", 2))),
            (("", 3, 1), Some(("true", 2)), Some(("false", 1))),
            (("odd", 3, 2), Some(("true", 2)), Some(("false", 2))),
        ] {
            let (kept, generation, spec) = live;
            let found = object(kept, generation, spec);
            let after =
                |of: Option<(&str, i64)>| of.map(|(kept, spec)| object(kept, generation, spec));
            assert_eq!(
                revised(&found, &expected, true),
                after(mandatory),
                "{live:?}"
            );
            assert_eq!(
                revised(&found, &expected, false),
                after(suggested),
                "{live:?}"
            );
        }
    }

    #[test]
    fn seats_of_what_is_exempt_are_given_by_others() {
        let level = |shares: i64| json!({"metadata": {"annotations": {KEPT: "true"}}, "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": shares}}});
        assert_eq!(revised(&level(7), &level(0), true), None);
    }
}
