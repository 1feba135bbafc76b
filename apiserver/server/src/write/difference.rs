//! Whether two states of an object are the same in what counts, told without a copy of either: every update asks.

use serde_json::{Map, Value};
use skiff_api::{kinds::Kind, machinery::meta::Meta};

const MANAGED_FIELDS: &str = "managedFields";

/// Whether two maps are alike but for what stands under some names.
fn alike_but(
    left: Option<&Map<String, Value>>,
    right: Option<&Map<String, Value>>,
    but: &[&str],
) -> bool {
    let counted = |map: Option<&'_ Map<String, Value>>| {
        map.map_or(0, |map| {
            map.len() - but.iter().filter(|name| map.contains_key(**name)).count()
        })
    };
    counted(left) == counted(right)
        && left
            .into_iter()
            .flatten()
            .filter(|(name, _)| !but.contains(&name.as_str()))
            .all(|(name, value)| right.and_then(|map| map.get(name)) == Some(value))
}

fn managed(value: &Value) -> &[Value] {
    value
        .meta()
        .and_then(|meta| meta.get(MANAGED_FIELDS))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Nothing changed but the times of managed fields.
pub(super) fn same_but_for_times(new: &Value, live: &Value) -> bool {
    alike_but(new.as_object(), live.as_object(), &["metadata"])
        && alike_but(new.meta(), live.meta(), &[MANAGED_FIELDS])
        && managed(new).len() == managed(live).len()
        && managed(new)
            .iter()
            .zip(managed(live))
            .all(|(new, live)| alike_but(new.as_object(), live.as_object(), &["time"]))
}

/// Something besides metadata and status changed. Of a kind whose status is not written by itself it is desired like all else.
pub(super) fn desired_differs(kind: &Kind, new: &Value, live: &Value) -> bool {
    let of_meta = |name: &str| {
        new.meta().and_then(|meta| meta.get(name)) != live.meta().and_then(|meta| meta.get(name))
    };
    kind.flags.annotations_are_desired && of_meta("annotations")
        || kind.flags.labels_are_desired && of_meta("labels")
        || !alike_but(
            new.as_object(),
            live.as_object(),
            match kind.has_status() {
                true => &["metadata", "apiVersion", "kind", "status"],
                false => &["metadata", "apiVersion", "kind"],
            },
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_managed_fields_do_not_count_and_all_else_does() {
        let object = |time: &str, manager: &str, label: &str, data: &str| json!({"metadata": {"labels": {"a": label}, "managedFields": [{"manager": manager, "time": time}]}, "data": {"x": data}});
        let live = object("1", "m", "l", "d");
        assert!(same_but_for_times(&object("2", "m", "l", "d"), &live));
        for other in [
            object("1", "n", "l", "d"),
            object("1", "m", "k", "d"),
            object("1", "m", "l", "e"),
        ] {
            assert!(!same_but_for_times(&other, &live), "{other}");
        }
        let mut more = live.clone();
        more["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .push(json!({"manager": "m"}));
        assert!(!same_but_for_times(&more, &live) && !same_but_for_times(&live, &more));
        more = live.clone();
        more["spec"] = json!({});
        assert!(!same_but_for_times(&more, &live) && !same_but_for_times(&live, &more));
        more = live.clone();
        more["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("managedFields");
        assert!(!same_but_for_times(&more, &live) && !same_but_for_times(&live, &more));
    }

    #[test]
    fn status_and_metadata_are_no_new_generation_unless_the_kind_says_so() {
        let pods = skiff_api::kinds::Registry::builtin()
            .stored("pods")
            .unwrap();
        let live =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"a": 1}, "status": {"a": 1}});
        let mut new = live.clone();
        new["metadata"]["labels"]["a"] = "c".into();
        new["status"]["a"] = 2.into();
        assert!(!desired_differs(pods, &new, &live));
        let slices = skiff_api::kinds::Registry::builtin()
            .stored("endpointslices.discovery.k8s.io")
            .unwrap();
        assert!(desired_differs(slices, &new, &live));
        new["spec"]["a"] = 2.into();
        assert!(desired_differs(pods, &new, &live));
        let (live, new) = (json!({"status": {"a": 1}}), json!({"status": {"a": 2}}));
        assert!(!desired_differs(pods, &new, &live) && desired_differs(slices, &new, &live));
    }
}
