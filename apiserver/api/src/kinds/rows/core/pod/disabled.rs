//! Fields behind feature gates that are off by default in v1.36: dropped, unless the object before had them.
//!
//! Invariant: what is dropped here is never stored, so nothing accepts and ignores it. Follows `pkg/api/pod/util.go` (dropDisabledFields,
//! dropDisabledPodStatusFields).

use crate::kinds::prelude::*;
use crate::kinds::validation::pod::LISTS;

/// Of a spec; `old` is the one that is replaced.
pub fn drop_from_spec(spec: &mut Value, old: Option<&Value>) {
    let null = Value::Null;
    let old = old.unwrap_or(&null);
    for source in ["clusterTrustBundle", "podCertificate"] {
        let used = old.list("volumes").iter().any(|volume| {
            volume
                .at("projected")
                .list("sources")
                .iter()
                .any(|one| one.some(source).is_some())
        });
        if !used {
            drop_source(spec, source);
        }
    }
    let Some(map) = spec.as_object_mut() else {
        return;
    };
    if old.some("schedulingGroup").is_none() {
        map.remove("schedulingGroup");
    }
    let signals = LISTS.iter().any(|list| {
        old.list(list)
            .iter()
            .any(|container| container.at("lifecycle").some("stopSignal").is_some())
    });
    if signals {
        return;
    }
    for list in LISTS {
        for container in map
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let Some(lifecycle) = container
                .get_mut("lifecycle")
                .and_then(Value::as_object_mut)
            else {
                continue;
            };
            if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
                container.remove("lifecycle");
            }
        }
    }
}

fn drop_source(spec: &mut Value, source: &str) {
    for volume in spec
        .get_mut("volumes")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let sources = volume
            .get_mut("projected")
            .and_then(|projected| projected.get_mut("sources"))
            .and_then(Value::as_array_mut);
        for one in sources
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            one.remove(source);
        }
    }
}

/// Of the spec of `owner.template`.
pub fn drop_from_template(owner: &mut Value, old: Option<&Value>) {
    if let Some(spec) = owner
        .get_mut("template")
        .and_then(|template| template.get_mut("spec"))
    {
        drop_from_spec(spec, old.map(|old| old.at("template").at("spec")));
    }
}

/// Of a pod's status.
pub fn drop_from_status(status: &mut Value, old: &Value) {
    const STATUSES: [&str; 3] = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let used = STATUSES.iter().flat_map(|list| old.list(list)).any(|one| {
        one.list("volumeMounts")
            .iter()
            .any(|mount| mount.some("volumeStatus").is_some())
    });
    let Some(map) = status.as_object_mut() else {
        return;
    };
    if old.list("nodeAllocatableResourceClaimStatuses").is_empty() {
        map.remove("nodeAllocatableResourceClaimStatuses");
    }
    for list in STATUSES.iter().filter(|_| !used) {
        for one in map
            .get_mut(*list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for mount in one
                .get_mut("volumeMounts")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .filter_map(Value::as_object_mut)
            {
                mount.remove("volumeStatus");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_unless_there_before() {
        let with = json!({"schedulingGroup": {"podGroupName": "g"}, "containers": [{"lifecycle": {"stopSignal": "SIGTERM"}}],
            "volumes": [{"projected": {"sources": [{"podCertificate": {}}]}}]});
        let mut spec = with.clone();
        drop_from_spec(&mut spec, None);
        assert_eq!(
            spec,
            json!({"containers": [{}], "volumes": [{"projected": {"sources": [{}]}}]})
        );
        let mut spec = with.clone();
        drop_from_spec(&mut spec, Some(&with));
        assert_eq!(spec, with);
    }
}
