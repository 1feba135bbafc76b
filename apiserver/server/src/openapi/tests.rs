use std::collections::BTreeSet;

use super::*;

/// What upstream's document has of a definition that ours must have too.
fn facts(definition: &Value) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    let list = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    facts.insert(format!("required {}", list(&definition["required"])));
    for (name, property) in definition["properties"].as_object().into_iter().flatten() {
        let kind = |value: &Value| {
            format!(
                "{}{}{}",
                value["type"].as_str().unwrap_or(""),
                value["format"].as_str().unwrap_or(""),
                value["$ref"].as_str().unwrap_or("")
            )
        };
        facts.insert(format!("{name} is {}", kind(property)));
        for part in ["items", "additionalProperties"] {
            facts.insert(format!("{name} {part} {}", kind(&property[part])));
        }
        for extension in [
            "list-type",
            "list-map-keys",
            "patch-strategy",
            "patch-merge-key",
            "map-type",
        ] {
            facts.insert(format!(
                "{name} {extension} {}",
                property[&format!("x-kubernetes-{extension}")]
            ));
        }
    }
    facts
}

#[test]
fn definitions_and_paths_are_upstreams() {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA does not name upstream's OpenAPI document");
        return;
    };
    let text =
        std::fs::read_to_string(std::path::Path::new(&data).join("openapi-v2.json")).unwrap();
    let theirs: Value = serde_json::from_str(&text).unwrap();
    let mut ours = model(Registry::builtin(), None);
    ours["definitions"] = Definitions::of(Registry::builtin(), Version::Two).all();
    let mut wrong = Vec::new();
    for (name, definition) in ours["definitions"].as_object().unwrap() {
        let Some(upstream) = theirs["definitions"].get(name) else {
            continue;
        };
        let (a, b) = (facts(definition), facts(upstream));
        wrong.extend(
            b.difference(&a)
                .map(|fact| format!("{name}: missing {fact}")),
        );
    }
    let methods = |item: &Value| {
        item.as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .filter(|name| name != "parameters")
            .collect::<BTreeSet<_>>()
    };
    for (path, item) in ours["paths"].as_object().unwrap() {
        match theirs["paths"].get(path) {
            None => wrong.push(format!("{path} is not upstream's")),
            Some(upstream) if methods(upstream) != methods(item) => wrong.push(format!(
                "{path}: {:?} for {:?}",
                methods(item),
                methods(upstream)
            )),
            Some(upstream) => {
                for method in methods(item) {
                    for field in [
                        "operationId",
                        "x-kubernetes-action",
                        "x-kubernetes-group-version-kind",
                        "tags",
                        "description",
                    ] {
                        if upstream[&method][field] != item[&method][field] {
                            wrong.push(format!(
                                "{path} {method} {field}: {} for {}",
                                item[&method][field], upstream[&method][field]
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} facts differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
}

#[test]
fn every_reference_leads_somewhere() {
    for path in ["api/v1", "apis/apps/v1", "apis/autoscaling/v2"] {
        let document: Value = serde_json::from_slice(
            &version3_of(
                Registry::builtin(),
                group_version(Registry::builtin(), path).unwrap(),
            )
            .bytes,
        )
        .unwrap();
        let text = document["paths"].to_string() + &document["components"].to_string();
        for reference in text
            .split("\"$ref\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
        {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{path}: {name}"
            );
        }
    }
}

/// `explain` shows by these that a limit is a Quantity, not a string.
#[test]
fn what_is_one_of_several_types_has_no_type_of_its_own() {
    let document: Value =
        serde_json::from_slice(&version3_of(Registry::builtin(), ("", "v1")).bytes).unwrap();
    let schemas = &document["components"]["schemas"];
    let types = |name: &str| {
        (
            schemas[name].get("type").cloned(),
            schemas[name]["oneOf"].clone(),
        )
    };
    assert_eq!(
        types("io.k8s.apimachinery.pkg.api.resource.Quantity"),
        (None, json!([{"type": "string"}, {"type": "number"}]))
    );
    assert_eq!(
        types("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
        (None, json!([{"type": "integer"}, {"type": "string"}]))
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"],
        "int-or-string"
    );
}

#[test]
fn fields_are_described() {
    let definitions = Definitions::of(Registry::builtin(), Version::Two).all();
    let pod = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
    let mute: Vec<&String> = pod
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, field)| field["description"].as_str().unwrap_or("").is_empty())
        .map(|(name, _)| name)
        .collect();
    assert!(mute.is_empty(), "{mute:?}");
}

/// What Go's `mime.ParseMediaType` takes: tokens around a slash, then parameters.
fn go_reads(media: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(c))
    };
    let mut parts = media.split(';').map(str::trim);
    let kind = parts
        .next()
        .and_then(|kind| kind.split_once('/'))
        .is_some_and(|(kind, sub)| token(kind) && token(sub));
    kind && parts.all(|part| {
        part.split_once('=')
            .is_some_and(|(name, value)| token(name) && token(value))
    })
}

#[test]
fn the_media_type_is_one_that_was_asked_for_and_can_be_read() {
    let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert!(!go_reads(old), "the check must know what Go refuses");
    for (accept, offers, want) in [
        (old, VERSION2, Some(PROTOBUF)),
        (PROTOBUF, VERSION2, Some(PROTOBUF)),
        (&format!("{JSON}, {old};q=0.5"), VERSION2, Some(JSON)),
        (&format!("{JSON};q=0.5, {old}"), VERSION2, Some(PROTOBUF)),
        ("*/*", VERSION2, Some(JSON)),
        ("application/*", VERSION3, Some(JSON)),
        ("text/html", VERSION2, None),
        (
            "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
            VERSION3,
            None,
        ),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let got = negotiated(&headers, offers);
        assert_eq!(got, want, "{accept}");
        assert!(got.is_none_or(go_reads), "{got:?}");
    }
    assert_eq!(negotiated(&http::HeaderMap::new(), VERSION2), Some(JSON));
}
