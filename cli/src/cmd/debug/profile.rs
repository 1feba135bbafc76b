//! What a debugging container may do: the profiles of `debug`, and a file that is laid over them.
//! Invariant: a profile touches the debugging container and what it needs of the pod; other containers stay as they are.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/debug/profiles.go`.

use crate::error::{Error, Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::patch::strategic;

/// What is debugged, and so which pod the container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A container is added to the pod itself.
    Ephemeral,
    /// A copy of the pod.
    Copy,
    /// A new pod in the namespaces of a node.
    Node,
}

/// What of the original a copy keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepFlags {
    pub labels: bool,
    pub annotations: bool,
    pub liveness: bool,
    pub readiness: bool,
    pub startup: bool,
    pub init_containers: bool,
}

/// One profile, as what it does.
#[derive(Clone, Copy)]
pub struct Profile {
    pub name: &'static str,
    /// The container loses its security context first.
    clear: &'static [Style],
    /// Set in the container's security context.
    security: fn() -> Value,
    /// Capabilities that are added.
    capabilities: &'static [&'static str],
    capable: &'static [Style],
    /// The node's file system is mounted at `/host`.
    mounts_root: bool,
    /// A node's namespaces are used.
    host: bool,
    /// Copies lose what is not kept, and their containers see each other's processes.
    trims: bool,
}

const ALL: &[Style] = &[Style::Ephemeral, Style::Copy, Style::Node];
const PODS: &[Style] = &[Style::Ephemeral, Style::Copy];
const PLAIN: Profile = Profile {
    name: "",
    clear: &[],
    security: || json!({}),
    capabilities: &[],
    capable: ALL,
    mounts_root: false,
    host: false,
    trims: true,
};

/// All profiles. One line each.
static PROFILES: &[Profile] = &[
    Profile {
        name: "general",
        clear: &[Style::Node],
        capabilities: &["SYS_PTRACE"],
        capable: PODS,
        mounts_root: true,
        host: true,
        ..PLAIN
    },
    Profile {
        name: "baseline",
        clear: ALL,
        ..PLAIN
    },
    Profile {
        name: "restricted",
        clear: ALL,
        security: restricted,
        ..PLAIN
    },
    Profile {
        name: "netadmin",
        capabilities: &["NET_ADMIN", "NET_RAW"],
        host: true,
        ..PLAIN
    },
    Profile {
        name: "sysadmin",
        security: || json!({"privileged": true}),
        mounts_root: true,
        host: true,
        ..PLAIN
    },
    Profile {
        name: "legacy",
        mounts_root: true,
        host: true,
        trims: false,
        ..PLAIN
    },
];

fn restricted() -> Value {
    json!({"runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})
}

/// The profile of that name.
///
/// # Errors
/// There is none.
pub fn named(name: &str) -> Result<Profile> {
    PROFILES
        .iter()
        .find(|p| p.name == name)
        .copied()
        .ok_or_else(|| message!("unknown profile: {name}"))
}

/// The container of that name, in whichever list it is.
pub fn container<'a>(pod: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let spec = pod["spec"].as_object_mut()?;
    let lists = spec.iter_mut().filter(|(k, _)| {
        matches!(
            k.as_str(),
            "containers" | "initContainers" | "ephemeralContainers"
        )
    });
    lists
        .filter_map(|(_, l)| l.as_array_mut())
        .flatten()
        .find(|c| c.text("name") == name)
}

impl Profile {
    /// Makes the pod and its debugging container what the profile says.
    pub fn apply(&self, pod: &mut Value, name: &str, style: Style, keep: KeepFlags) {
        if style == Style::Copy {
            self.trim(pod, keep);
        }
        if style == Style::Node && self.host {
            ["hostNetwork", "hostPID", "hostIPC"]
                .iter()
                .for_each(|f| pod["spec"][*f] = json!(true));
        }
        let mounts = style == Style::Node && self.mounts_root;
        if mounts {
            push(
                &mut pod["spec"]["volumes"],
                json!({"name": "host-root", "hostPath": {"path": "/"}}),
            );
        }
        let Some(c) = container(pod, name) else {
            return;
        };
        if self.clear.contains(&style) {
            c.as_object_mut().map(|m| m.remove("securityContext"));
        }
        if let Value::Object(fields) = (self.security)() {
            fields
                .into_iter()
                .for_each(|(k, v)| c["securityContext"][k] = v);
        }
        if self.capable.contains(&style) {
            self.capabilities
                .iter()
                .for_each(|k| push(&mut c["securityContext"]["capabilities"]["add"], json!(k)));
        }
        if mounts {
            push(
                &mut c["volumeMounts"],
                json!({"name": "host-root", "mountPath": "/host"}),
            );
        }
    }

    fn trim(&self, pod: &mut Value, keep: KeepFlags) {
        let drop = |v: &mut Value, fields: &[(&str, bool)]| {
            for (field, kept) in fields {
                if !kept {
                    v.as_object_mut().map(|m| m.remove(*field));
                }
            }
        };
        if !self.trims {
            return drop(&mut pod["metadata"], &[("labels", false)]);
        }
        drop(
            &mut pod["metadata"],
            &[("labels", keep.labels), ("annotations", keep.annotations)],
        );
        drop(
            &mut pod["spec"],
            &[("initContainers", keep.init_containers)],
        );
        for c in pod["spec"]["containers"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            drop(
                c,
                &[
                    ("livenessProbe", keep.liveness),
                    ("readinessProbe", keep.readiness),
                    ("startupProbe", keep.startup),
                ],
            );
        }
        if pod.at("spec").some("shareProcessNamespace").is_none() {
            pod["spec"]["shareProcessNamespace"] = json!(true);
        }
    }
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(l) => l.push(item),
        None => *list = json!([item]),
    }
}

/// The file of `--custom`: a part of a container, in YAML or JSON.
///
/// # Errors
/// A file that cannot be read, holds no such thing, or names what it may not change.
pub fn custom(path: &str) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        message!(
            "must pass a container spec json file for custom profile: open {path}: {}",
            crate::error::go_io(&e)
        )
    })?;
    let bad = |why: String| message!("{path} does not contain a valid container spec: {why}");
    let value = crate::yaml::read_lax(&text)
        .map_err(|why| bad(why.into()))?
        .into_iter()
        .next()
        .map_or(Value::Null, |d| d.value);
    if !value.is_object() {
        return Err(bad("it is not an object".into()));
    }
    if ["name", "command", "image", "lifecycle", "volumeDevices"]
        .iter()
        .any(|f| !value[*f].is_null())
    {
        bail!(
            "name, command, image, lifecycle and volume devices are not modifiable via custom profile"
        );
    }
    Ok(value)
}

/// Lays the custom part over the debugging container.
///
/// # Errors
/// What does not fit a container.
pub fn lay_over(pod: &mut Value, name: &str, custom: &Value) -> Result<()> {
    let node = skiff_api::machinery::schema::Schema::builtin()
        .get("core.v1.Container")
        .ok_or_else(|| Error::msg("the type Container is not known"))?;
    let c = container(pod, name)
        .ok_or_else(|| message!("unable to find the {name} container in the pod"))?;
    *c = strategic::apply(c, custom, node)
        .map_err(|e| message!("error creating three way patch to add debug container: {e}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {"containers": [{"name": "x", "livenessProbe": {}, "securityContext": {"runAsUser": 1}}, {"name": "y"}], "initContainers": [{"name": "i"}]}})
    }

    #[test]
    fn a_profile_is_what_it_does_to_the_debugging_container() {
        for (name, style, pointer, want) in [
            (
                "general",
                Style::Ephemeral,
                "/spec/containers/0/securityContext/capabilities/add",
                json!(["SYS_PTRACE"]),
            ),
            (
                "general",
                Style::Node,
                "/spec/containers/0/securityContext",
                Value::Null,
            ),
            (
                "general",
                Style::Node,
                "/spec/containers/0/volumeMounts/0/mountPath",
                json!("/host"),
            ),
            ("general", Style::Node, "/spec/hostPID", json!(true)),
            (
                "general",
                Style::Copy,
                "/spec/shareProcessNamespace",
                json!(true),
            ),
            (
                "baseline",
                Style::Copy,
                "/spec/containers/0/securityContext",
                Value::Null,
            ),
            ("baseline", Style::Node, "/spec/hostPID", Value::Null),
            (
                "restricted",
                Style::Ephemeral,
                "/spec/containers/0/securityContext",
                restricted(),
            ),
            (
                "netadmin",
                Style::Node,
                "/spec/containers/0/securityContext/capabilities/add",
                json!(["NET_ADMIN", "NET_RAW"]),
            ),
            ("netadmin", Style::Node, "/spec/volumes", Value::Null),
            (
                "sysadmin",
                Style::Copy,
                "/spec/containers/0/securityContext/privileged",
                json!(true),
            ),
            ("legacy", Style::Copy, "/metadata/labels", Value::Null),
            ("legacy", Style::Copy, "/metadata/annotations/c", json!("d")),
            ("general", Style::Copy, "/metadata/annotations", Value::Null),
            (
                "general",
                Style::Copy,
                "/spec/containers/0/livenessProbe",
                Value::Null,
            ),
            (
                "general",
                Style::Ephemeral,
                "/metadata/labels/a",
                json!("b"),
            ),
        ] {
            let mut p = pod();
            named(name)
                .unwrap()
                .apply(&mut p, "x", style, KeepFlags::default());
            assert_eq!(
                p.pointer(pointer).cloned().unwrap_or(Value::Null),
                want,
                "{name} {style:?} {pointer}"
            );
            assert_eq!(
                p["spec"]["containers"][1],
                json!({"name": "y"}),
                "{name} {style:?} touched another container"
            );
        }
        assert!(named("nosuch").is_err());
    }

    #[test]
    fn a_custom_part_is_merged_as_the_server_would() {
        let mut p = pod();
        lay_over(
            &mut p,
            "x",
            &json!({"env": [{"name": "A", "value": "1"}], "securityContext": {"runAsUser": 0}}),
        )
        .unwrap();
        assert_eq!(
            p["spec"]["containers"][0]["securityContext"]["runAsUser"],
            0
        );
        assert_eq!(p["spec"]["containers"][0]["env"][0]["value"], "1");
    }
}
