//! The security context of one container: the pod's, overridden by its own.
//!
//! Invariant: pure; a field that this node cannot honour is refused, never dropped.
//! Follows `pkg/securitycontext/util.go` and `pkg/kubelet/kuberuntime/security_context.go`.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};

use super::names::{describe, spec};
use crate::runtime::Security;
use skiff_api::machinery::quote::GoQuoted;

/// Why a container's process may not be what it asks to be.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("container's runAsUser breaks non-root policy {0}")]
    AsksForRoot(String),
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
    )]
    NamedUser { name: String, place: String },
    #[error("container has runAsNonRoot and image will run as root {0}")]
    ImageIsRoot(String),
    #[error(
        "container has runAsNonRoot and image has an invalid user id ({id}). (Must be 1-({max})): must be between 0 and {max}, inclusive {place}", max = i32::MAX
    )]
    InvalidUser { id: i64, place: String },
    #[error("AppArmor profile {} cannot be loaded: AppArmor is not supported by this node", GoQuoted(.0))]
    AppArmor(String),
    #[error("windowsOptions cannot be used on a Linux node")]
    Windows,
    #[error("supplementalGroupsPolicy Strict is not supported by this node")]
    StrictGroups,
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    NoProfile,
}

/// What the image's `User` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUser {
    /// No user: root.
    Unset,
    Id(i64),
    Name(String),
}

impl ImageUser {
    /// From `User` of the image's config: `uid`, `uid:gid`, `name`, `name:group` or nothing.
    pub fn parse(user: &str) -> Self {
        let user = user.split(':').next().unwrap_or_default();
        match user.parse() {
            _ if user.is_empty() => Self::Unset,
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(user.to_owned()),
        }
    }
}

/// Refuses a container that must not run as root and would, or of which that cannot be told.
pub fn verify_non_root(
    pod: &Pod,
    container: &Container,
    image_user: &ImageUser,
) -> Result<(), Error> {
    let of_pod = spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let wanted = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| of_pod.and_then(|pod| pod.run_as_non_root));
    if wanted != Some(true) {
        return Ok(());
    }
    let place = format!(
        "(pod: {}, container: {})",
        GoQuoted(&describe(pod)),
        container.name
    );
    match user(of_pod, own) {
        Some(0) => return Err(Error::AsksForRoot(place)),
        Some(_) => return Ok(()),
        None => {}
    }
    match image_user {
        ImageUser::Name(name) => Err(Error::NamedUser {
            name: name.clone(),
            place,
        }),
        ImageUser::Unset | ImageUser::Id(0) => Err(Error::ImageIsRoot(place)),
        ImageUser::Id(id) if !(0..=i64::from(i32::MAX)).contains(id) => {
            Err(Error::InvalidUser { id: *id, place })
        }
        ImageUser::Id(_) => Ok(()),
    }
}

/// Whom a container's processes are to be, by its own context before its pod's.
fn user(of_pod: Option<&PodSecurityContext>, own: Option<&SecurityContext>) -> Option<i64> {
    own.and_then(|own| own.run_as_user)
        .or_else(|| of_pod.and_then(|pod| pod.run_as_user))
}

/// The user that all containers of the pod are to be; none where they differ, or one of them does not say.
pub fn common_user(pod: &Pod) -> Option<i64> {
    let spec = spec(pod);
    let of_pod = spec.security_context.as_ref();
    let init = spec.init_containers.iter().flatten();
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let mut users = init
        .chain(&spec.containers)
        .map(|container| container.security_context.as_ref())
        .chain(ephemeral.map(|container| container.security_context.as_ref()))
        .map(|own| user(of_pod, own));
    let first = users.next()??;
    users.all(|other| other == Some(first)).then_some(first)
}

/// The merged context, or what of it this node cannot do.
pub fn effective(pod: &Pod, container: &Container) -> Result<Security, Error> {
    let no_pod = PodSecurityContext::default();
    let no_own = SecurityContext::default();
    let of_pod = spec(pod).security_context.as_ref().unwrap_or(&no_pod);
    let own = container.security_context.as_ref().unwrap_or(&no_own);
    refuse_unsupported(of_pod, own)?;
    let (add, drop) = capabilities(own.capabilities.as_ref());
    Ok(Security {
        privileged: own.privileged.unwrap_or(false),
        run_as_user: user(Some(of_pod), Some(own)),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: of_pod
            .fs_group
            .into_iter()
            .chain(of_pod.supplemental_groups.iter().flatten().copied())
            .collect(),
        add_capabilities: add,
        drop_capabilities: drop,
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        allow_privilege_escalation: own.allow_privilege_escalation,
        seccomp: seccomp(
            own.seccomp_profile
                .as_ref()
                .or(of_pod.seccomp_profile.as_ref()),
        )?,
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

fn refuse_unsupported(of_pod: &PodSecurityContext, own: &SecurityContext) -> Result<(), Error> {
    let apparmor = own
        .app_armor_profile
        .as_ref()
        .or(of_pod.app_armor_profile.as_ref());
    if let Some(profile) = apparmor.filter(|profile| profile.type_ == "Localhost") {
        return Err(Error::AppArmor(
            profile.localhost_profile.clone().unwrap_or_default(),
        ));
    }
    if own.windows_options.is_some() || of_pod.windows_options.is_some() {
        return Err(Error::Windows);
    }
    if of_pod.supplemental_groups_policy.as_deref() == Some("Strict") {
        return Err(Error::StrictGroups);
    }
    Ok(())
}

fn capabilities(capabilities: Option<&Capabilities>) -> (Vec<String>, Vec<String>) {
    let list = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    (
        list(capabilities.and_then(|all| all.add.as_ref())),
        list(capabilities.and_then(|all| all.drop.as_ref())),
    )
}

fn seccomp(profile: Option<&SeccompProfile>) -> Result<Option<String>, Error> {
    let Some(profile) = profile else {
        return Ok(None);
    };
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", Some(path)) => Ok(Some(path.clone())),
        ("Localhost", None) => Err(Error::NoProfile),
        (other, _) => Ok(Some(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn case(of_pod: Value, own: Value) -> (Pod, Container) {
        let pod: Pod = from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}}))
        .unwrap();
        let container = spec(&pod).containers[0].clone();
        (pod, container)
    }

    #[test]
    fn non_root_is_verified() {
        let non_root = json!({"runAsNonRoot": true});
        let table = [
            (json!({}), json!({}), "", ""),
            (
                non_root.clone(),
                json!({}),
                "",
                "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)",
            ),
            (
                non_root.clone(),
                json!({}),
                "0:0",
                "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)",
            ),
            (non_root.clone(), json!({}), "65532", ""),
            (
                non_root.clone(),
                json!({}),
                "nobody",
                "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root (pod: \"p_n(u)\", container: c)",
            ),
            (
                non_root.clone(),
                json!({"runAsUser": 0}),
                "5",
                "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)",
            ),
            (non_root.clone(), json!({"runAsNonRoot": false}), "", ""),
            (json!({"runAsUser": 7}), non_root, "", ""),
        ];
        for (of_pod, own, user, expected) in table {
            let (pod, container) = case(of_pod, own);
            let verdict = verify_non_root(&pod, &container, &ImageUser::parse(user));
            assert_eq!(
                verdict.map_or_else(|error| error.to_string(), |()| String::new()),
                expected
            );
        }
    }

    #[test]
    fn containers_have_a_user_in_common_when_all_of_them_say_the_same() {
        let of = |context: serde_json::Value| json!({"name": "c", "securityContext": context});
        let seven = || of(json!({"runAsUser": 7}));
        for (spec, user) in [
            (json!({"containers": [of(json!({}))]}), None),
            (json!({"containers": [seven(), seven()]}), Some(7)),
            (
                json!({"containers": [of(json!({"runAsUser": 0}))]}),
                Some(0),
            ),
            (json!({"containers": [seven(), of(json!({}))]}), None),
            (
                json!({"containers": [seven()], "initContainers": [of(json!({"runAsUser": 8}))]}),
                None,
            ),
            (
                json!({"containers": [seven()], "ephemeralContainers": [of(json!({}))]}),
                None,
            ),
            (
                json!({"securityContext": {"runAsUser": 7}, "containers": [of(json!({})), seven()]}),
                Some(7),
            ),
        ] {
            let pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(common_user(&pod), user, "{spec}");
        }
    }

    #[test]
    fn the_containers_own_values_win() {
        let (pod, container) = case(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}),
            json!({"runAsUser": 9, "capabilities": {"drop": ["ALL"]}}),
        );
        let security = effective(&pod, &container).unwrap();
        assert_eq!(
            (
                security.run_as_user,
                security.run_as_group,
                security.supplemental_groups
            ),
            (Some(9), Some(2), vec![3, 4])
        );
        assert_eq!(security.drop_capabilities, ["ALL"]);
    }
}
