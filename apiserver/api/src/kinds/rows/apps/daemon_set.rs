//! DaemonSets. Follows `pkg/apis/apps/validation/validation.go` (ValidateDaemonSetSpec) and `pkg/registry/apps/daemonset/strategy.go`.
//!
//! Invariant: the generation of the template, which v1 keeps in an annotation, is the server's alone.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::rows::core::pod::disabled;
use crate::kinds::validation::checks::{invalid_shown, label_selector};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::workload::{
    amount_of, at_most_all, count_or_percent, unsupported_shown,
};
use crate::kinds::validation::{pod, workload};
use crate::machinery::selector::Selector;

pub const STRATEGY: Strategy = Strategy {
    annotations_of_version: &[TEMPLATE_GENERATION],
    defaults: defaults::daemon_set,
    prepare_for_create: |new| {
        set_template_generation(new, template_generation(new).max(1));
        disabled::drop_from_template(&mut new["spec"], None);
    },
    prepare_for_update: |new, old| {
        disabled::drop_from_template(&mut new["spec"], Some(old.at("spec")));
        let changed = new.at("spec").some("template") != old.at("spec").some("template");
        set_template_generation(new, template_generation(old) + i64::from(changed));
    },
    prepare_for_status_update: |new, old| {
        set_template_generation(new, template_generation(old));
    },
    validate: |new| validate(new, None),
    validate_update: |new, old| validate(new, Some(old)),
    validate_status_update,
    warnings,
    ..Strategy::DEFAULT
};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The count that v1 keeps in an annotation; nought when there is none.
pub fn template_generation(set: &Value) -> i64 {
    set.at("metadata")
        .at("annotations")
        .text(TEMPLATE_GENERATION)
        .parse()
        .unwrap_or(0)
}

pub fn set_template_generation(set: &mut Value, generation: i64) {
    set["metadata"]["annotations"][TEMPLATE_GENERATION] = generation.to_string().into();
}

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = Warnings::new();
    if old.is_none_or(|old| template_generation(old) != template_generation(new)) {
        pod::warnings::warnings(
            new.at("spec").at("template"),
            Some(&Path::new("spec.template")),
            &mut out,
        );
    }
    out
}

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (new.at("spec"), Path::new("spec"));
    let mut options = Options::of(old.map(|old| old.at("spec").at("template")));
    if let Some(old) = old {
        workload::same_selector(spec, old.at("spec"), &path, &mut errors);
        let values = old
            .at("spec")
            .at("selector")
            .list("matchExpressions")
            .iter()
            .flat_map(|one| one.texts("values"));
        options.invalid_selector_values |= values
            .into_iter()
            .any(|value| !names::is_label_value(value).is_empty());
    }
    selector(spec, &options, &path, &mut errors);
    let at = path.child("template");
    pod::validate_template(spec.at("template"), &options, &at, &mut errors);
    workload::runs_for_ever(spec.at("template"), "DaemonSet", &at, &mut errors);
    workload::counts(spec, &["minReadySeconds"], &path, &mut errors);
    update_strategy(
        spec.at("updateStrategy"),
        &path.child("updateStrategy"),
        &mut errors,
    );
    workload::counts(spec, &["revisionHistoryLimit"], &path, &mut errors);
    errors
}

fn selector(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let given = spec.some("selector");
    label_selector(
        given,
        options.invalid_selector_values,
        &path.child("selector"),
        errors,
    );
    if let Ok(selector) = Selector::from_label_selector(given) {
        let at = path.child("template");
        workload::template_matches(&selector, spec.at("template"), &at, errors);
    }
    if given.is_some_and(workload::selects_everything) {
        invalid_shown(
            &workload::shown_selector(given),
            "empty selector is invalid for daemonset",
            &path.child("selector"),
            errors,
        );
    }
}

fn update_strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.some("rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&at, ""),
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &at, errors),
        _ => unsupported_shown(
            &internal::json(strategy, "apps.DaemonSetUpdateStrategy"),
            &["RollingUpdate", "OnDelete"],
            path,
            errors,
        ),
    }
}

fn rolling_update(rolling: &Value, path: &Path, errors: &mut Errors) {
    let fields = ["maxUnavailable", "maxSurge"].map(|name| (rolling.at(name), path.child(name)));
    for (value, at) in &fields {
        count_or_percent(value, at, errors);
    }
    for (value, at) in &fields {
        at_most_all(value, at, errors);
    }
    let [(unavailable, _), (surge, at)] = &fields;
    match (amount_of(unavailable) != 0, amount_of(surge) != 0) {
        (true, true) => errors.invalid(
            at,
            (*surge).clone(),
            "may not be set when maxUnavailable is non-zero",
        ),
        (false, false) => errors.required(
            &path.child("maxUnavailable"),
            "cannot be 0 when maxSurge is 0",
        ),
        _ => {}
    }
}

fn validate_status_update(new: &Value, old: &Value) -> Errors {
    const COUNTS: &[&str] = &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    let mut errors = Errors::default();
    let path = Path::new("status");
    workload::counts(new.at("status"), COUNTS, &path, &mut errors);
    workload::collisions_only_grow(new.at("status"), old.at("status"), &path, &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies() {
        for (given, wanted) in [
            (json!({"type": "OnDelete"}), vec![]),
            (
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
                vec![],
            ),
            (
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "1%"}}),
                vec![
                    "s.rollingUpdate.maxSurge: Invalid value: \"1%\": may not be set when maxUnavailable is non-zero",
                ],
            ),
            (
                json!({"type": "RollingUpdate", "rollingUpdate": {}}),
                vec![
                    "s.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
            (
                json!({}),
                vec![
                    "s: Unsupported value: {\"Type\":\"\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\"",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            update_strategy(&given, &Path::new("s"), &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
    }

    #[test]
    fn generations_of_the_template() {
        let set = |template: &str| json!({"metadata": {}, "spec": {"template": {"spec": {"x": template}}}});
        let mut old = set("a");
        (STRATEGY.prepare_for_create)(&mut old);
        assert_eq!(template_generation(&old), 1);
        let mut new = set("b");
        (STRATEGY.prepare_for_update)(&mut new, &old);
        assert_eq!(template_generation(&new), 2);
    }
}
