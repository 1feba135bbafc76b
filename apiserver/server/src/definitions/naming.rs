//! Which of the names that a definition asks for it gets, and what its status says then.
//!
//! Invariant: in a group no two definitions have a plural, singular or short name in common, nor a kind or kind of lists.
//! Follows `pkg/controller/status/naming_controller.go`, `pkg/controller/establish/establishing_controller.go` and `pkg/controller/apiapproval`.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::definition::{find, set},
    machinery::read::Read,
};

const APPROVED: &str = "api-approved.kubernetes.io";
const INITIAL: (&str, &str) = (
    "InitialNamesAccepted",
    "the initial names have been accepted",
);

/// The status that a definition should have beside `others` (itself among them); `None`: the one that it has.
pub fn status<'v>(
    definition: &Value,
    others: impl Iterator<Item = &'v Value>,
    now: &str,
) -> Option<Value> {
    let mut status = match definition.some("status") {
        Some(status) => status.clone(),
        None => Value::Object(Default::default()),
    };
    let (wanted, had) = (
        definition.at("spec").at("names"),
        status.at("acceptedNames").clone(),
    );
    if *wanted != had || find(&status, "NamesAccepted").is_none() {
        let group = definition.at("spec").text("group");
        let (names, refused) = accepted(wanted, &had, &Taken::of(group, others));
        status["acceptedNames"] = names;
        match &refused {
            Some((reason, why)) => set(&mut status, "NamesAccepted", "False", (reason, why), now),
            None => set(
                &mut status,
                "NamesAccepted",
                "True",
                ("NoConflicts", "no conflicts found"),
                now,
            ),
        }
        if refused.is_some() && find(&status, "Established").is_none() {
            let why = ("NotAccepted", "not all names are accepted");
            set(&mut status, "Established", "False", why, now);
        }
    }
    let is = |status: &Value, of: &str| {
        find(status, of).is_some_and(|condition| condition.text("status") == "True")
    };
    if is(&status, "NamesAccepted") && !is(&status, "Established") {
        set(&mut status, "Established", "True", INITIAL, now);
    }
    approval(definition, &mut status, now);
    (definition.at("status") != &status).then_some(status)
}

/// What definitions of a group have.
#[derive(Default)]
struct Taken<'v> {
    resources: BTreeSet<&'v str>,
    kinds: BTreeSet<&'v str>,
}

impl<'v> Taken<'v> {
    fn of(group: &str, definitions: impl Iterator<Item = &'v Value>) -> Taken<'v> {
        let mut taken = Taken::default();
        for definition in definitions.filter(|other| other.at("spec").text("group") == group) {
            let names = definition.at("status").at("acceptedNames");
            taken
                .resources
                .extend([names.text("plural"), names.text("singular")]);
            taken.resources.extend(names.texts("shortNames"));
            taken
                .kinds
                .extend([names.text("kind"), names.text("listKind")]);
        }
        taken
    }
}

/// The names that it gets, and the last conflict: reason and message.
fn accepted(
    wanted: &Value,
    had: &Value,
    taken: &Taken<'_>,
) -> (Value, Option<(&'static str, String)>) {
    let mut names = had.clone();
    if names.is_null() {
        names = Value::Object(Default::default());
    }
    let mut refused = None;
    let in_use = |name: &str| format!("{name} is already in use", name = GoQuoted(&name));
    let mut single = |field: &str, reason, among: &BTreeSet<&str>, names: &mut Value| {
        let name = wanted.text(field);
        if name != had.text(field) && among.contains(name) {
            refused = Some((reason, in_use(name)));
        } else {
            names[field] = name.into();
        }
    };
    single("plural", "PluralConflict", &taken.resources, &mut names);
    single("singular", "SingularConflict", &taken.resources, &mut names);
    let mut short = None;
    if wanted.list("shortNames") != had.list("shortNames") {
        let conflicts: Vec<String> = wanted
            .texts("shortNames")
            .filter(|name| !had.texts("shortNames").any(|ours| ours == *name))
            .filter(|name| taken.resources.contains(name))
            .map(in_use)
            .collect();
        match conflicts.as_slice() {
            [] => copy(wanted, &mut names, "shortNames"),
            [one] => short = Some(one.clone()),
            several => short = Some(format!("[{}]", several.join(", "))),
        }
    }
    single("kind", "KindConflict", &taken.kinds, &mut names);
    single("listKind", "ListKindConflict", &taken.kinds, &mut names);
    copy(wanted, &mut names, "categories");
    // the last that is found is told; that of kinds comes after that of short names
    let of_kinds = |told: &(&str, String)| told.0.ends_with("KindConflict");
    let refused = match (refused, short) {
        (Some(told), Some(_)) if of_kinds(&told) => Some(told),
        (_, Some(short)) => Some(("ShortNamesConflict", short)),
        (told, None) => told,
    };
    (names, refused)
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    match from.some(field) {
        Some(value) => to[field] = value.clone(),
        None => {
            if let Some(to) = to.as_object_mut() {
                to.remove(field);
            }
        }
    }
}

/// Groups of the Kubernetes community say who approved of them.
fn approval(definition: &Value, status: &mut Value, now: &str) {
    let group = definition.at("spec").text("group");
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group == *domain
            || group
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    });
    if !protected {
        return;
    }
    let given = definition.at("metadata").at("annotations").text(APPROVED);
    let need = format!("protected groups must have approval annotation {APPROVED:?}");
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let is_url = given.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
    });
    let (state, reason, message) = match given {
        "" => ("False", "MissingAnnotation", format!("{need}, {SEE}")),
        given if given.starts_with("unapproved") => (
            "False",
            "UnapprovedAnnotation",
            format!("not approved: {given}", given = GoQuoted(&given)),
        ),
        given if is_url => ("True", "ApprovedAnnotation", format!("approved in {given}")),
        _ => (
            "False",
            "InvalidAnnotation",
            format!("{need} with either a URL or a reason starting with \"unapproved\", {SEE}"),
        ),
    };
    const OF: &str = "KubernetesAPIApprovalPolicyConformant";
    set(status, OF, state, (reason, &message), now);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use skiff_api::kinds::definition::is_condition;

    use super::*;

    fn definition(plural: &str, short: &[&str], kind: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "names":
            {"plural": plural, "singular": kind.to_lowercase(), "shortNames": short, "kind": kind, "listKind": format!("{kind}List")}}})
    }

    fn settled(mut definition: Value) -> Value {
        definition["status"] = status(&definition, std::iter::empty(), "then").unwrap();
        definition
    }

    #[test]
    fn free_names_are_taken_and_it_is_established() {
        let boats = settled(definition("boats", &["bt"], "Boat"));
        assert_eq!(boats["status"]["acceptedNames"], boats["spec"]["names"]);
        assert!(is_condition(&boats, "Established", "True"));
        assert_eq!(status(&boats, [&boats].into_iter(), "now"), None);
    }

    #[test]
    fn the_last_conflict_is_told() {
        let boats = settled(definition("boats", &["bt"], "Boat"));
        let cases = [
            (
                definition("boats", &[], "Ship"),
                "PluralConflict",
                r#""boats" is already in use"#,
            ),
            (
                definition("ships", &["bt"], "Ship"),
                "ShortNamesConflict",
                r#""bt" is already in use"#,
            ),
            (
                definition("ships", &["bt"], "Boat"),
                "ListKindConflict",
                r#""BoatList" is already in use"#,
            ),
        ];
        for (other, reason, message) in cases {
            let told = status(&other, [&boats, &other].into_iter(), "now").unwrap();
            let condition = find(&told, "NamesAccepted").unwrap();
            assert_eq!(
                (condition.text("reason"), condition.text("message")),
                (reason, message)
            );
            assert_eq!(
                find(&told, "Established").unwrap().text("reason"),
                "NotAccepted"
            );
        }
    }

    #[test]
    fn the_communitys_groups_are_approved_of() {
        let mut gates = definition("gates", &[], "Gate");
        gates["spec"]["group"] = "gateway.networking.k8s.io".into();
        let reason = |gates: &Value| {
            let told = status(gates, std::iter::empty(), "now").unwrap();
            find(&told, "KubernetesAPIApprovalPolicyConformant")
                .unwrap()
                .text("reason")
                .to_string()
        };
        assert_eq!(reason(&gates), "MissingAnnotation");
        for (given, told) in [
            (
                "https://github.com/kubernetes-sigs/gateway-api/pull/1",
                "ApprovedAnnotation",
            ),
            ("unapproved, experimental", "UnapprovedAnnotation"),
            ("somebody", "InvalidAnnotation"),
        ] {
            gates["metadata"]["annotations"] = json!({APPROVED: given});
            assert_eq!(reason(&gates), told, "{given}");
        }
    }
}
