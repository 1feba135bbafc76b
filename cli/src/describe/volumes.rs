//! Volumes of pods, and sources of persistent volumes: what each kind of source shows stands in `volumes.txt`.
//! Invariant: a source that has no row there is told to be unknown.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{Each, Form, If, In};
use super::form::{line, put};
use super::text::pairs;
use super::{Out, storage};
use crate::typed::Read;
use serde_json::Value;

const SOURCES: &str = include_str!("volumes.txt");

/// What follows the lines of some sources.
const MORE: &[(&str, fn(&mut Out, &Value))] = &[
    ("csi", |out, source| {
        let pairs = pairs(source.at("volumeAttributes"));
        below(out, "VolumeAttributes", &pairs, "<none>");
    }),
    ("downwardAPI", |out, source| {
        let item = [
            If("fieldRef", &[Form(3, "{fieldRef.fieldPath} -> {path}")]),
            If(
                "resourceFieldRef",
                &[Form(3, "{resourceFieldRef.resource} -> {path}")],
            ),
        ];
        source.list("items").iter().for_each(|i| put(out, i, &item));
    }),
    ("ephemeral", |out, source| {
        put(out, source, &[In("volumeClaimTemplate", storage::TEMPLATE)]);
    }),
    ("projected", |out, source| {
        const TOKEN: &str = "TokenExpirationSeconds: {serviceAccountToken.expirationSeconds}";
        let part = Each(
            "sources",
            &[
                If(
                    "secret",
                    &[Form(
                        2,
                        "SecretName: {secret.name}\nOptional: {secret.optional|flag}",
                    )],
                ),
                If("downwardAPI", &[Form(2, "DownwardAPI: true")]),
                If(
                    "configMap",
                    &[Form(
                        2,
                        "ConfigMapName: {configMap.name}\nOptional: {configMap.optional|flag}",
                    )],
                ),
                If("serviceAccountToken", &[Form(2, TOKEN)]),
            ],
        );
        put(out, source, &[part]);
    }),
];

/// All volumes of a pod.
pub fn all(out: &mut Out, volumes: &[Value], space: &str) {
    let none = if volumes.is_empty() { "\t<none>" } else { "" };
    out.put(0, format!("{space}Volumes:{none}\n"));
    let indent = if space.is_empty() { "" } else { " " };
    for volume in volumes {
        out.put(1, format!("{indent}{}:\n", volume.text("name")));
        source(out, volume, "pod ", "pv ");
    }
}

/// The source of a persistent volume, by its `spec`.
pub fn of_persistent_volume(out: &mut Out, spec: &Value) {
    source(out, spec, "pv ", "pod ");
}

/// Shows the one source that a volume has, with the lines of all and `ours`.
fn source(out: &mut Out, volume: &Value, ours: &str, theirs: &str) {
    let rows = SOURCES.split("\n\n").filter_map(|row| {
        let (head, lines) = row.split_once('\n').unwrap_or((row, ""));
        let (field, kind) = head.split_once(' ')?;
        Some((field, kind, volume.some(field)?, lines))
    });
    let Some((field, kind, source, lines)) = rows.into_iter().next() else {
        return out.put(1, "<unknown>\n");
    };
    out.put(2, format!("Type:\t{kind}\n"));
    for text in lines.lines().filter(|text| !text.starts_with(theirs)) {
        line(out, 2, source, text.strip_prefix(ours).unwrap_or(text));
    }
    if let Some((_, more)) = MORE.iter().find(|(name, _)| *name == field) {
        more(out, source);
    }
}

/// Lines after a title, below each other, each indented anew as upstream's nested writers do.
pub fn below(out: &mut Out, title: &str, lines: &[String], none: &str) {
    out.put(2, format!("{title}:\t"));
    if lines.is_empty() {
        out.put(0, format!("{none}\n"));
    }
    for (i, line) in lines.iter().enumerate() {
        let before = if i == 0 { "" } else { "        \t" };
        out.put(0, format!("{before}    {line}\n"));
    }
}
