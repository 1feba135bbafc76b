use serde_json::json;

use super::*;

fn conformed(name: &str, mut value: Value) -> Result<(Value, Vec<String>), TypeError> {
    let decoded = conform(&mut value, Schema::builtin().get(name).unwrap())?;
    let mut again = value.clone();
    conform(&mut again, Schema::builtin().get(name).unwrap()).unwrap();
    assert_eq!(again, value, "conform is idempotent");
    Ok((value, decoded.unknown))
}

#[test]
fn writes_and_leaves_out_as_go_does() {
    let (pod, unknown) = conformed(
        "core.v1.Pod",
        json!({"metadata": {"labels": {}, "name": "a", "nosuch": 1}, "spec": {"containers": [{"name": "c", "image": "", "oops": {}, "stdin": false,
            "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}], "nodeName": null}}),
    )
    .unwrap();
    assert_eq!(
        pod,
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1024"}}}]}, "status": {}})
    );
    assert_eq!(unknown, ["metadata.nosuch", "spec.containers[0].oops"]);
}

#[test]
fn names_the_place_as_go_does() {
    for (kind, value, said) in [
        (
            "core.v1.Pod",
            json!({"spec": {"hostNetwork": "x"}}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            "core.v1.Pod",
            json!({"spec": {"volumes": [{"ephemeral": "x"}]}}),
            "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.ephemeral of type v1.EphemeralVolumeSource",
        ),
        (
            "core.v1.ServicePort",
            json!({"targetPort": {}}),
            "json: cannot unmarshal object into Go struct field ServicePort.targetPort of type int32",
        ),
        (
            "core.v1.ServicePort",
            json!({"targetPort": true}),
            "json: cannot unmarshal bool into Go struct field ServicePort.targetPort of type int32",
        ),
        (
            "core.v1.NodeCondition",
            json!({"lastHeartbeatTime": []}),
            "json: cannot unmarshal array into Go struct field NodeCondition.lastHeartbeatTime of type string",
        ),
        (
            "resource.v1.Device",
            json!({"attributes": "x"}),
            "json: cannot unmarshal string into Go struct field Device.attributes of type map[v1.QualifiedName]v1.DeviceAttribute",
        ),
        (
            "authentication.v1.UserInfo",
            json!({"extra": {"a": 7}}),
            "json: cannot unmarshal number into Go struct field UserInfo.extra of type v1.ExtraValue",
        ),
        (
            "core.v1.ConfigMap",
            json!({"data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
    ] {
        assert_eq!(conformed(kind, value).unwrap_err().0, said);
    }
}

#[test]
fn what_is_nested_too_deeply_is_left_out() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(!parse_json_in_part(nested(126).as_bytes()).unwrap().cut);
    for depth in [127, 9_999] {
        let text = format!("{{\"x\": {}, \"y\": \"{{\"}}", nested(depth));
        let mut parsed = parse_json_in_part(text.as_bytes()).unwrap();
        assert!(parsed.cut && is_cut(&parsed.value));
        parsed.value.as_object_mut().unwrap().remove("x");
        assert_eq!(
            (is_cut(&parsed.value), &parsed.value),
            (false, &json!({"y": "{"}))
        );
        assert_eq!(
            parse_json(text.as_bytes()).unwrap_err().0,
            "exceeded max depth"
        );
    }
    for text in ["[".repeat(10_001), "[".repeat(10_001) + &"]".repeat(10_001)] {
        let said = parse_json_in_part(text.as_bytes()).unwrap_err();
        assert_eq!(said.0, "invalid character '[' exceeded max depth");
    }
}

#[test]
fn duplicates_are_named() {
    let parsed = parse_json(br#"{"a": {"b": [{"c": 1, "c": 2}]}, "a2": 1, "a2": 2}"#).unwrap();
    assert_eq!(parsed.duplicates, ["a.b[0].c", "a2"]);
    assert_eq!(parsed.value["a"]["b"][0]["c"], 2);
    assert!(parse_json(b"{").is_err());
}

#[test]
fn every_name_resolves() {
    let schema = Schema::builtin();
    assert!(schema.types.len() > 500);
    let ports = schema
        .get("core.v1.Service")
        .unwrap()
        .child("spec")
        .unwrap()
        .child("ports")
        .unwrap();
    assert_eq!(ports.list_type(), ListType::Map);
    assert_eq!(
        ports.keys().iter().map(|k| &**k).collect::<Vec<_>>(),
        ["port", "protocol"]
    );
    assert_eq!(
        ports.element().unwrap().as_type().unwrap().go_name(),
        "v1.ServicePort"
    );
}

/// A null is Go's zero of its type, which Go then writes or leaves out.
#[test]
fn nulls_are_zeroes() {
    for (kind, given, wanted) in [
        (
            "meta.v1.Condition",
            json!({"type": "a", "status": null, "lastTransitionTime": null, "reason": null, "message": null}),
            json!({"type": "a", "status": "", "lastTransitionTime": null, "reason": "", "message": ""}),
        ),
        // the zero time is none
        (
            "meta.v1.Condition",
            json!({"type": "a", "status": "b", "lastTransitionTime": "0001-01-01T01:00:00+01:00", "reason": "c", "message": "d"}),
            json!({"type": "a", "status": "b", "lastTransitionTime": null, "reason": "c", "message": "d"}),
        ),
        (
            "meta.v1.ManagedFieldsEntry",
            json!({"manager": "a", "time": null, "fieldsV1": null}),
            json!({"manager": "a"}),
        ),
        (
            "core.v1.PodCondition",
            json!({"type": "a", "status": "b"}),
            json!({"type": "a", "status": "b", "lastProbeTime": null, "lastTransitionTime": null}),
        ),
        (
            "core.v1.ServicePort",
            json!({"port": null, "targetPort": null, "appProtocol": null}),
            json!({"port": 0, "targetPort": 0}),
        ),
        (
            "core.v1.HTTPGetAction",
            json!({"port": null}),
            json!({"port": 0}),
        ),
        (
            "coordination.v1.LeaseSpec",
            json!({"renewTime": null, "leaseDurationSeconds": null}),
            json!({}),
        ),
        (
            "core.v1.ResourceRequirements",
            json!({"limits": {"cpu": null, "memory": "1"}, "claims": [null]}),
            json!({"limits": {"cpu": "0", "memory": "1"}, "claims": [{"name": ""}]}),
        ),
        (
            "core.v1.ResourceFieldSelector",
            json!({"resource": "a", "divisor": null}),
            json!({"resource": "a", "divisor": "0"}),
        ),
        (
            "core.v1.EmptyDirVolumeSource",
            json!({"sizeLimit": null}),
            json!({}),
        ),
        (
            "resource.v1.CapacityRequestPolicy",
            json!({"default": null, "validValues": [null]}),
            json!({"default": null, "validValues": ["0"]}),
        ),
        (
            "core.v1.Container",
            json!({"name": "a", "args": [null], "env": null}),
            json!({"name": "a", "args": [""], "resources": {}}),
        ),
        (
            "core.v1.ConfigMap",
            json!({"data": {"a": null}, "binaryData": {"b": null}}),
            json!({"metadata": {}, "data": {"a": ""}, "binaryData": {"b": ""}}),
        ),
        (
            "authentication.v1.UserInfo",
            json!({"extra": {"a": null, "b": [null]}}),
            json!({"extra": {"a": null, "b": [""]}}),
        ),
        (
            "apps.v1.ControllerRevision",
            json!({"data": null}),
            json!({"metadata": {}, "data": null, "revision": 0}),
        ),
        ("core.v1.ObjectReference", json!({"name": null}), json!({})),
    ] {
        assert_eq!(conformed(kind, given).unwrap().0, wanted, "{kind}");
    }
}

/// What is converted rather than decoded is refused in other words, the first mistake in the order of the fields.
#[test]
fn conversions_are_refused_as_upstream_does() {
    for (kind, value, said) in [
        (
            "core.v1.NodeSpec",
            json!({"podCIDR": 7}),
            "cannot convert int64 to string",
        ),
        (
            "core.v1.ServicePort",
            json!({"protocol": 7}),
            "cannot convert int64 to v1.Protocol",
        ),
        (
            "core.v1.NodeSpec",
            json!({"unschedulable": "yes"}),
            "unrecognized type: bool",
        ),
        (
            "core.v1.NodeSpec",
            json!({"taints": {}}),
            "cannot restore slice from map",
        ),
        (
            "core.v1.NodeSpec",
            json!({"podCIDR": [], "taints": 1, "podCIDRs": "x"}),
            "unrecognized type: string",
        ),
        (
            "core.v1.ServicePort",
            json!({"port": "x"}),
            "unrecognized type: int32",
        ),
        (
            "core.v1.ServicePort",
            json!({"port": 1.5}),
            "cannot convert float64 to int32",
        ),
        (
            "core.v1.Service",
            json!({"spec": "x"}),
            "cannot restore struct from: string",
        ),
        (
            "core.v1.ConfigMap",
            json!({"data": "x"}),
            "cannot restore map from string",
        ),
        (
            "core.v1.ConfigMap",
            json!({"binaryData": {"a": "Odd Value!"}}),
            "error decoding from json: illegal base64 data at input byte 3",
        ),
    ] {
        assert_eq!(
            conform_converted(&mut value.clone(), Schema::builtin().get(kind).unwrap())
                .unwrap_err()
                .0,
            said,
            "{value}"
        );
    }
    let mut port = json!({"port": 80.0, "nodePort": 4294967297i64});
    conform_converted(
        &mut port,
        Schema::builtin().get("core.v1.ServicePort").unwrap(),
    )
    .unwrap();
    assert_eq!(port, json!({"port": 80, "nodePort": 1, "targetPort": 0}));
}

/// Schemas of custom resources, and the simpler things that may stand in their place, are read by decoders of their own.
#[test]
fn schemas_or_something_simpler() {
    let kind = "apiextensions.v1.JSONSchemaProps";
    for (given, wanted) in [
        (
            json!({"items": {"type": "string", "nosuch": 1, "nullable": false}}),
            json!({"items": {"type": "string"}}),
        ),
        (
            json!({"items": [{"type": "string"}, {"title": ""}]}),
            json!({"items": [{"type": "string"}, {}]}),
        ),
        (
            json!({"additionalProperties": false}),
            json!({"additionalProperties": false}),
        ),
        (
            json!({"dependencies": {"a": ["b"], "c": {"nosuch": 1}}}),
            json!({"dependencies": {"a": ["b"], "c": {}}}),
        ),
    ] {
        let (found, unknown) = conformed(kind, given).unwrap();
        assert_eq!((found, unknown.is_empty()), (wanted, true));
    }
    for (given, said) in [
        (
            json!({"additionalProperties": "yes"}),
            "boolean or JSON schema expected",
        ),
        (
            json!({"items": {"type": 1}}),
            "json: cannot unmarshal number into Go struct field JSONSchemaProps.items.type of type string",
        ),
    ] {
        assert_eq!(conformed(kind, given).unwrap_err().to_string(), said);
    }
    let value = json!({"items": {"type": "a", "description": "b"}});
    assert_eq!(
        to_json(&value, Schema::builtin().get(kind)),
        br#"{"items":{"description":"b","type":"a"}}"#
    );
}

#[test]
fn an_embedded_object_is_never_empty() {
    for data in [
        json!(0),
        json!(""),
        json!(false),
        json!([]),
        json!({}),
        json!(null),
    ] {
        let (revision, _) = conformed(
            "apps.v1.ControllerRevision",
            json!({"data": data, "revision": 1}),
        )
        .unwrap();
        assert_eq!(revision["data"], data);
    }
}

/// What is told of emptied lists takes no room from the first name that is not known: whoever is strict refuses for it.
#[test]
fn an_unknown_field_is_told_whatever_came_before_it() {
    let name = "n".repeat(1 << 20);
    let schema = json!({"properties": {&name: {"required": []}}, "unknown": 1});
    let (_, unknown) = conformed("apiextensions.v1.JSONSchemaProps", schema).unwrap();
    assert_eq!(unknown, ["unknown"]);
}

/// Many mistakes below one long name: each of their paths has it.
#[test]
fn what_is_told_of_an_input_is_bounded() {
    let name = "n".repeat(200_000);
    let many = 20_000;
    let fields: serde_json::Map<String, Value> =
        (0..many).map(|n| (format!("f{n}"), json!(1))).collect();
    let schema = json!({"properties": {&name: fields}});
    let (_, unknown) = conformed("apiextensions.v1.JSONSchemaProps", schema).unwrap();
    assert!((1..20).contains(&unknown.len()), "{}", unknown.len());
    let mut wrong = json!({"extra": {&name: vec![1; many]}});
    let node = Schema::builtin().get("authentication.v1.UserInfo").unwrap();
    let walk = conform(&mut wrong, node).unwrap_err();
    assert_eq!(
        walk.0,
        "json: cannot unmarshal number into Go struct field UserInfo.extra of type string"
    );
    let text = wrong.to_string();
    let mut seen = 0;
    walk_paths(text.as_bytes(), &mut |place| {
        seen += 1;
        assert_eq!(place.mark, mark(place.path));
        seen < 10
    });
    assert_eq!(seen, 10);
}

#[test]
fn places_come_in_the_order_of_the_text() {
    let text = br#"{"b":{"x":[1,{"y":2}]},"a":1,"b":2}"#;
    let mut seen = Vec::new();
    walk_paths(text, &mut |place| {
        seen.push((place.path.to_owned(), place.depth, place.again));
        true
    });
    let whole = |(path, depth, again): &(String, usize, bool)| (path.clone(), *depth, *again);
    let wanted = [
        ("b", 1, false),
        ("b.x", 2, false),
        ("b.x[0]", 3, false),
        ("b.x[1]", 3, false),
        ("b.x[1].y", 4, false),
        ("a", 1, false),
        ("b", 1, true),
    ];
    for (path, depth, again) in wanted {
        assert!(
            seen.iter()
                .map(whole)
                .any(|one| one == (path.to_owned(), depth, again)),
            "{path}"
        );
    }
    assert_eq!(first_of(text, &["a", "b.x[1].y"]), 1);
    assert_eq!(parse_json(text).unwrap().duplicates, ["b"]);
}

#[test]
fn who_converts_reads_whole_floats_as_numbers_and_names_no_keys() {
    let service = Schema::builtin().of_kind("v1", "Service").unwrap();
    let mut value = json!({"spec": {"ports": [{"port": 1, "targetPort": 1000.0}]}});
    assert!(conform(&mut value.clone(), service).is_err());
    conform_converted(&mut value, service).unwrap();
    assert_eq!(value["spec"]["ports"][0]["targetPort"], 1000);
    let slice = Schema::builtin()
        .of_kind("resource.k8s.io/v1", "ResourceSlice")
        .unwrap();
    let mut value = json!({"spec": {"devices": [{"attributes": {"a": {"odd": 1}}}]}});
    let decoded = conform_converted(&mut value.clone(), slice).unwrap();
    assert_eq!(decoded.unknown, ["spec.devices[0].attributes.odd"]);
    let decoded = conform(&mut value, slice).unwrap();
    assert_eq!(decoded.unknown, ["spec.devices[0].attributes.a.odd"]);
}
