//! Whoever writes an admission policy or a binding of one must be allowed to read the parameters that it names: what it finds tells of them.
//!
//! Invariant: what cannot be made out is taken for everything. Asked when nothing else is wrong with the object.
//! Follows `pkg/registry/admissionregistration/{validating,mutating}admissionpolicy{,binding}/authz.go`.

use serde_json::Value;
use skiff_api::{
    kinds::{Beyond, Kind},
    machinery::{
        field::{Errors, Path},
        read::Read,
        status::Status,
    },
};
use skiff_storage::Key;

use super::call::{Call, Part};
use crate::{
    auth::{self, SYSTEM_MASTERS, User},
    stored,
};

const ALL: &str = "*";

/// `old` is absent on creation.
pub(super) async fn check(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    new: &Value,
    old: Option<&Value>,
) -> Result<Errors, Status> {
    let mut errors = Errors::default();
    let (name, refused) = match kind.flags.beyond {
        _ if !matches!(part, Part::Whole) || call.asked.user.in_group(SYSTEM_MASTERS) => {
            return Ok(errors);
        }
        Beyond::ParametersOfPolicy => ("paramKind", policy(call, new, old).await),
        Beyond::ParametersOfBinding(policies) => ("paramRef", binding(call, new, policies).await?),
        _ => return Ok(errors),
    };
    if let Some(why) = refused {
        errors.forbidden(&Path::new("spec").child(name), why);
    }
    Ok(errors)
}

async fn policy(call: &Call<'_>, new: &Value, old: Option<&Value>) -> Option<String> {
    let kind = new.at("spec").some("paramKind")?;
    if old.is_some_and(|old| old.at("spec").some("paramKind") == Some(kind)) {
        return None;
    }
    let asked = auth::Attributes {
        verb: "get".into(),
        namespace: ALL.into(),
        name: ALL.into(),
        ..of_kind(call, Some(kind)).0
    };
    let why = || {
        let (user, name, version) = (
            shown(&call.asked.user),
            kind.text("kind"),
            kind.text("apiVersion"),
        );
        format!(
            r#"user {user} must have "get" permission on all objects of the referenced paramKind (kind={name}, apiVersion={version})"#
        )
    };
    let verdict = call.writer.core.authorizers.decide(&asked).await;
    (!verdict.allowed()).then(why)
}

/// `policies` names the resource of the policies that such bindings are of.
async fn binding(
    call: &Call<'_>,
    binding: &Value,
    policies: &str,
) -> Result<Option<String>, Status> {
    let spec = binding.at("spec");
    let Some(reference) = spec.some("paramRef") else {
        return Ok(None);
    };
    let (name, policy_name) = (reference.text("name"), spec.text("policyName"));
    let key = Key {
        resource: policies.into(),
        namespace: "".into(),
        name: policy_name.into(),
    };
    let policy = match call.store().get(&key) {
        Some(object) => {
            let row = call
                .kinds
                .stored(policies)
                .ok_or_else(|| Status::internal(format!("no row for {policies}")))?;
            Some(stored::decoded(row, &object)?)
        }
        None => None,
    };
    let kind = policy
        .as_ref()
        .and_then(|policy| policy.at("spec").some("paramKind"));
    let (base, known) = of_kind(call, kind);
    let verb = if name.is_empty() { "list" } else { "get" };
    let asked = auth::Attributes {
        verb: verb.into(),
        namespace: reference.text("namespace").into(),
        name: name.into(),
        ..base
    };
    let verdict = call.writer.core.authorizers.decide(&asked).await;
    if verdict.allowed() {
        return Ok(None);
    }
    let user = shown(&call.asked.user);
    let everything = format!(
        r#"to determine minimum required permissions and user {user} does not have "{verb}" permission for all groups, versions and resources"#
    );
    Ok(Some(match kind {
        _ if policy.is_none() => format!("unable to get policy {policy_name} {everything}"),
        Some(kind) if !known => format!(
            "unable to resolve paramKind &{{{} {}}} {everything}",
            kind.text("apiVersion"),
            kind.text("kind")
        ),
        // upstream puts both the other way round for policies that change objects
        _ if policies.starts_with("mutating") => format!(
            r#"user {verb} does not have "{user}" permission on the object referenced by paramRef"#
        ),
        _ => format!(
            r#"user {user} does not have "{verb}" permission on the object referenced by paramRef"#
        ),
    }))
}

/// A question about the resource of a kind, and whether there is one; what is not known is everything.
fn of_kind(call: &Call<'_>, kind: Option<&Value>) -> (auth::Attributes, bool) {
    let all = auth::Attributes {
        user: call.asked.user.clone(),
        resource_request: true,
        group: ALL.into(),
        version: ALL.into(),
        resource: ALL.into(),
        ..Default::default()
    };
    let Some(kind) = kind else {
        return (all, false);
    };
    let (group, version) = kind
        .text("apiVersion")
        .split_once('/')
        .unwrap_or(("", kind.text("apiVersion")));
    let found = call.kinds.find_kind(group, version, kind.text("kind"));
    let resource = found.map_or(ALL, |row| row.plural);
    (
        auth::Attributes {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            ..all
        },
        found.is_some(),
    )
}

/// As Go shows a user: `&{name uid [groups] map[key:[values]]}`.
fn shown(user: &User) -> String {
    let extra: Vec<String> = user
        .extra
        .iter()
        .map(|(key, values)| format!("{key}:[{}]", values.join(" ")))
        .collect();
    format!(
        "&{{{} {} [{}] map[{}]}}",
        user.name,
        user.uid,
        user.groups.join(" "),
        extra.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_as_go_shows_them() {
        let mut user = User::new("alice", &["dev", "ops"]);
        assert_eq!(shown(&user), "&{alice  [dev ops] map[]}");
        user.uid = "u".into();
        user.extra.insert("k".into(), vec!["a".into(), "b".into()]);
        assert_eq!(shown(&user), "&{alice u [dev ops] map[k:[a b]]}");
    }
}
