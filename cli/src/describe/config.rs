//! Config maps, secrets, service accounts, roles and their bindings.
//! Invariant: a secret's values are never shown, only their length; rules are shown as `auth can-i --list` shows them.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Do, Field, Many, Table, Text};
use super::form::{ANNOTATIONS, HEAD, LABELS, NAME};
use super::text::scalar;
use super::{Describer, Out, rules};
use crate::typed::Read;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

const RBAC: &str = "rbac.authorization.k8s.io";

pub const KINDS: &[Describer] = &[
    Describer::new("", "ConfigMap", &[HEAD, Do(config)]),
    Describer::new(
        "",
        "Secret",
        &[HEAD, Text("\nType:\t{type}\n\nData\n===="), Do(secret)],
    )
    .without_events(),
    Describer::new(
        "",
        "ServiceAccount",
        &[HEAD, Many("Image pull secrets", "imagePullSecrets", "name")],
    ),
    Describer::new(RBAC, "Role", ROLE).without_events(),
    Describer::new(RBAC, "ClusterRole", ROLE).without_events(),
    Describer::new(RBAC, "RoleBinding", BINDING).without_events(),
    Describer::new(RBAC, "ClusterRoleBinding", BINDING).without_events(),
];

const ROLE: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    Text("PolicyRule:"),
    Table(
        "  Resources\tNon-Resource URLs\tResource Names\tVerbs",
        "",
        "",
    ),
    Do(|out, role| {
        for [resource, urls, names, verbs] in rules::rows(role.list("rules")) {
            out.put(1, format!("{resource}\t{urls}\t{names}\t{verbs}\n"));
        }
    }),
];

const BINDING: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    Text("Role:"),
    Field("  Kind", "roleRef.kind"),
    Field("  Name", "roleRef.name"),
    Text("Subjects:"),
    Table(
        "  Kind\tName\tNamespace",
        "subjects",
        "  {kind}\t{name}\t{namespace}",
    ),
];

/// What a value holds; nothing of what is no base64.
fn bytes(value: &Value) -> Vec<u8> {
    STANDARD
        .decode(value.as_str().unwrap_or(""))
        .unwrap_or_default()
}

fn config(out: &mut Out, map: &Value) {
    out.put(0, "\nData\n====\n");
    for (key, value) in map.entries("data") {
        out.put(0, format!("{key}:\n----\n"));
        out.put(0, format!("{}\n\n", scalar(value)));
    }
    out.put(0, "\nBinaryData\n====\n");
    for (key, value) in map.entries("binaryData") {
        out.put(0, format!("{key}: {} bytes\n", bytes(value).len()));
    }
    out.put(0, "\n");
}

fn secret(out: &mut Out, secret: &Value) {
    let is_token = secret.text("type") == "kubernetes.io/service-account-token";
    for (key, value) in secret.entries("data") {
        let bytes = bytes(value);
        if key == "token" && is_token {
            out.field(key, String::from_utf8_lossy(&bytes));
        } else {
            out.field(key, format!("{} bytes", bytes.len()));
        }
    }
}
