use super::*;

/// Upstream's document, which was made without enumerations, with shared parameters written out in both.
fn upstream() -> Option<Value> {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA does not name upstream's OpenAPI document");
        return None;
    };
    let path = std::path::Path::new(&data).join("openapi-v2.json");
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

/// How two values differ, path by path. `ours` may have words and enumerations that `theirs` has not.
fn differences(theirs: &Value, ours: &Value, path: &str, wrong: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            for name in names {
                match (theirs.get(name), ours.get(name)) {
                    (None, Some(_)) if name == "enum" => {}
                    (Some(Value::String(_)), Some(Value::String(_))) if name == "description" => {}
                    (Some(theirs), Some(ours)) => {
                        differences(theirs, ours, &format!("{path} {name}"), wrong);
                    }
                    (None, Some(Value::String(_))) if name == "description" => {}
                    (Some(_), None) => wrong.push(format!("{path}: no {name}")),
                    _ => wrong.push(format!("{path}: {name} is not upstream's")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (at, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                differences(theirs, ours, &format!("{path} {at}"), wrong);
            }
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => wrong.push(format!("{path}: {ours} for {theirs}")),
    }
}

/// Parameters stand where they are used: the names of those that are shared are made of words, which are not upstream's.
fn written_out(document: &Value) -> Value {
    let mut paths = document["paths"].clone();
    for of in (paths.as_object_mut().unwrap().values_mut())
        .flat_map(|item| item.as_object_mut().unwrap().values_mut())
    {
        let parameters = match of.is_array() {
            true => of.as_array_mut(),
            false => of.get_mut("parameters").and_then(Value::as_array_mut),
        };
        for parameter in parameters.into_iter().flatten() {
            let name = parameter.text("$ref").strip_prefix("#/parameters/");
            if let Some(name) = name {
                *parameter = document["parameters"][name].clone();
            }
        }
    }
    paths
}

fn without_cbor(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(without_cbor),
        Value::Array(list) => {
            let cbor = |one: &Value| one.as_str().is_some_and(|one| one.contains("cbor"));
            list.retain(|one| !cbor(one));
            list.iter_mut().for_each(without_cbor);
        }
        _ => {}
    }
}

#[test]
fn definitions_and_paths_are_upstreams() {
    let Some(theirs) = upstream() else { return };
    let ours = version2(Registry::builtin(), &Known::default(), JSON);
    let ours: Value = serde_json::from_slice(&ours.bytes).unwrap();
    // upstream's document is of all groups, versions and media types, those that are off by default, too
    let own = own(Registry::builtin());
    let served = |path: &str| own.contains(version3::document_of(path));
    let mut paths = written_out(&theirs);
    let all = paths.as_object_mut().unwrap();
    all.retain(|path, _| served(path));
    all.values_mut().for_each(without_cbor);
    let definitions = used(all, theirs["definitions"].as_object().unwrap().clone());
    let mut wrong = Vec::new();
    differences(&paths, &written_out(&ours), "paths", &mut wrong);
    differences(
        &definitions.into(),
        &ours["definitions"],
        "definitions",
        &mut wrong,
    );
    assert!(
        wrong.is_empty(),
        "{} facts differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
}

/// What upstream shows of a field whose type is an enumeration.
#[test]
fn enumerations_are_told_with_their_values() {
    let definitions = Definitions::of(Registry::builtin(), Version::Two, None);
    let property = |of: &str, field: &str| {
        definitions
            .get(&format!("io.k8s.api.core.v1.{of}"))
            .unwrap()["properties"][field]
            .clone()
    };
    let policy = property("Container", "imagePullPolicy");
    assert_eq!(policy["enum"], json!(["Always", "IfNotPresent", "Never"]));
    let words = "\n\nPossible enum values:\n - `\"Always\"`\n - `\"IfNotPresent\"`\n - `\"Never\"`";
    assert!(policy.text("description").ends_with(words), "{policy}");
    let families = property("ServiceSpec", "ipFamilies");
    assert_eq!(families["items"]["enum"], json!(["", "IPv4", "IPv6"]));
    assert!(
        !families
            .text("description")
            .contains("Possible enum values")
    );
    // what is no enumeration of Go has none, though other values are refused
    assert_eq!(property("PodSpec", "os").get("enum"), None);
    assert_eq!(property("SecretList", "kind").get("enum"), None);
}

/// What a field is when nobody says anything is told in version 3 alone.
#[test]
fn defaults_are_those_that_are_said_and_zeros() {
    let of = |version, name: &str| {
        let definitions = Definitions::of(Registry::builtin(), version, None);
        definitions
            .get(&format!("io.k8s.api.core.v1.{name}"))
            .unwrap()["properties"]
            .clone()
    };
    let port = of(Version::Three, "ContainerPort");
    assert_eq!(port["protocol"]["default"], "TCP");
    assert_eq!(port["containerPort"]["default"], 0);
    assert_eq!(port["name"].get("default"), None);
    let pod = of(Version::Three, "Pod");
    assert_eq!(pod["spec"]["default"], json!({}));
    assert_eq!(
        of(Version::Three, "PodList")["metadata"]["default"],
        json!({})
    );
    assert_eq!(
        of(Version::Two, "ContainerPort")["protocol"].get("default"),
        None
    );
}

#[test]
fn each_path_stands_in_one_document_of_version_3() {
    for [path, document] in skiff_testing::table::rows(
        "
            /api/ | api
            /api/v1/ | api/v1
            /api/v1/namespaces/{namespace}/pods | api/v1
            /apis/ | apis
            /apis/apps/ | apis/apps
            /apis/apps/v1/watch/deployments | apis/apps/v1
            /version/ | version
            /openid/v1/jwks/ | openid/v1/jwks
            /.well-known/openid-configuration/ | .well-known/openid-configuration
        ",
    ) {
        assert_eq!(version3::document_of(path), document, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for path in [
        "api/v1",
        "apis/apps/v1",
        "apis/autoscaling/v2",
        "version",
        "apis",
    ] {
        let document: Value =
            serde_json::from_slice(&version3_of(Registry::builtin(), path).bytes).unwrap();
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
        serde_json::from_slice(&version3_of(Registry::builtin(), "api/v1").bytes).unwrap();
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

/// How many words of lists are not upstream's: where the words come from, all lists are one type. This number may only shrink.
const WORDS_OF_LISTS: usize = 160;

/// What a type and its fields are for is told as upstream tells it, to the letter, but for lists.
#[test]
fn descriptions_are_upstreams() {
    let Some(theirs) = upstream() else { return };
    // what the values of an enumeration are stands at the end; upstream's document was made without that
    let plain = |of: &Value| {
        let words = of.text("description");
        let end = words.find("\n\nPossible enum values:");
        words[..end.unwrap_or(words.len())].to_owned()
    };
    let (mut same, mut of_lists, mut wrong) = (0, 0, Vec::new());
    for (name, ours) in Definitions::of(Registry::builtin(), Version::Two, None).all() {
        let theirs = &theirs["definitions"][&*name];
        // what upstream does not have has words of ours
        if theirs.is_null() {
            continue;
        }
        let fields = ours["properties"].as_object().into_iter().flatten();
        let fields = fields.map(|(field, ours)| (&**field, ours, &theirs["properties"][field]));
        for (field, ours, theirs) in fields.chain([("", &ours, theirs)]) {
            let is_of_list = name.ends_with("List") && ["", "items", "metadata"].contains(&field);
            match plain(ours) == plain(theirs) {
                true => same += 1,
                false if is_of_list => of_lists += 1,
                false => wrong.push(format!("{name} {field}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(same > 2_500, "{same} are alike");
    assert_eq!(of_lists, WORDS_OF_LISTS);
}

#[test]
fn fields_are_described() {
    let definitions = Definitions::of(Registry::builtin(), Version::Two, None).all();
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
