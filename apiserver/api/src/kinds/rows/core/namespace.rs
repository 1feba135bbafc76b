//! Namespaces: their own finalizers in the spec, which only `/finalize` writes, and a phase that follows their deletion.
//!
//! Invariant: a namespace that is being deleted stays as long as `spec.finalizers` holds anything.
//! Follows `pkg/registry/core/namespace/{strategy.go,storage/storage.go}`, `ValidateNamespace*` of `pkg/apis/core/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::machinery::meta::child_mut;
use crate::machinery::object_meta;

const OURS: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create,
    after_system_fields: label_with_name,
    prepare_for_update,
    validate: |new| finalizers(new, false),
    validate_update: |new, _| finalizers(new, false),
    validate_status_update: |new, _| phase(new),
    parts: &[PartStrategy {
        name: "finalize",
        prepare: keep_status,
        reset: None,
        validate: |new, _| finalizers(new, true),
        checks: UpdateChecks::Update,
    }],
    held: |namespace| !namespace.at("spec").list("finalizers").is_empty(),
    terminate: Some(|namespace| {
        child_mut(namespace, "status").insert("phase".into(), "Terminating".into());
    }),
    ..Strategy::DEFAULT
};

fn label_with_name(namespace: &mut Value) {
    let name = namespace.name().to_string();
    if !name.is_empty() {
        namespace["metadata"]["labels"][NAME_LABEL] = name.into();
    }
}

fn defaults(namespace: &mut Value) {
    label_with_name(namespace);
    if namespace.at("status").some("phase").is_none() {
        namespace["status"]["phase"] = "Active".into();
    }
}

fn prepare_for_create(namespace: &mut Value) {
    namespace["status"] = json!({"phase": "Active"});
    let spec = child_mut(namespace, "spec");
    let list = spec
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = list
        .as_array_mut()
        .filter(|list| !list.iter().any(|name| name == OURS))
    {
        list.push(OURS.into());
    }
}

fn prepare_for_update(new: &mut Value, old: &Value) {
    new["spec"]["finalizers"] = old.at("spec").at("finalizers").clone();
    keep_status(new, old);
}

fn keep_status(new: &mut Value, old: &Value) {
    new["status"] = old.at("status").clone();
}

fn finalizers(namespace: &Value, indexed: bool) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let path = spec.child("finalizers");
    for (index, name) in namespace.at("spec").texts("finalizers").enumerate() {
        let at = if indexed { path.index(index) } else { path };
        checks::qualified_name(name, &at, &mut errors);
        object_meta::standard_finalizer(name, &at, &mut errors);
    }
    errors
}

fn phase(namespace: &Value) -> Errors {
    let mut errors = Errors::default();
    let phase = namespace.at("status").text("phase");
    let status = Path::new("status");
    let mut demand = |wanted: &str, when: &str| {
        if phase != wanted {
            errors.invalid(
                &status.child("Phase"),
                phase,
                format!("may only be '{wanted}' if `deletionTimestamp` is {when}"),
            );
        }
    };
    if namespace.is_deleting() {
        demand("Terminating", "not empty")
    } else {
        demand("Active", "empty")
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finalizers_are_named() {
        let mut namespace =
            json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["example.com/x"]}});
        prepare_for_create(&mut namespace);
        assert_eq!(
            namespace["spec"]["finalizers"],
            json!(["example.com/x", "kubernetes"])
        );
        assert!((STRATEGY.held)(&namespace) && finalizers(&namespace, true).is_empty());
        namespace["spec"]["finalizers"] = json!(["plain"]);
        let said = "spec.finalizers[0]: Invalid value: \"plain\": name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(finalizers(&namespace, true).message(), said);
        assert!(!(STRATEGY.held)(&json!({"spec": {}})));
    }

    #[test]
    fn the_phase_follows_the_deletion() {
        let mut namespace = json!({"metadata": {}, "status": {"phase": "Terminating"}});
        assert_eq!(phase(&namespace).0.len(), 1);
        namespace["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
        assert!(phase(&namespace).is_empty());
    }
}
