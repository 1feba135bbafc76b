//! The order of keys in what is answered is that of Go's structs, whatever way the answer was made.

use serde_json::json;

use crate::server::Server;

const META: &str = r#""metadata":{"name":"a","namespace":"default","uid":""#;

#[tokio::test]
async fn answers_are_in_the_order_of_their_types() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "data": {"b": "<1>", "a": "2"}, "kind": "ConfigMap", "metadata": {"labels": {"x": "y"}, "name": "a"}});
    let head = format!(r#"{{"kind":"ConfigMap","apiVersion":"v1",{META}"#);
    let dry = server
        .make(&format!("{maps}?dryRun=All"), &map)
        .await
        .text();
    assert!(
        dry.starts_with(&head)
            && dry.ends_with("},\"data\":{\"a\":\"2\",\"b\":\"\\u003c1\\u003e\"}}\n"),
        "{dry}"
    );
    let made = server.make(maps, &map).await.text();
    assert!(
        made.starts_with(&head)
            && made.ends_with("},\"data\":{\"a\":\"2\",\"b\":\"\\u003c1\\u003e\"}}\n"),
        "{made}"
    );
    assert_eq!(server.get(&format!("{maps}/a")).await.text(), made);
    let pretty = server.get(&format!("{maps}/a?pretty=1")).await.text();
    assert!(pretty.starts_with("{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {\n    \"name\": \"a\",\n"), "{pretty}");
    assert!(pretty.ends_with("\n}"), "{pretty}");

    let list = server.get(&format!("{maps}?limit=1")).await.text();
    let item = made
        .trim_end()
        .replacen(r#""kind":"ConfigMap","apiVersion":"v1","#, "", 1);
    assert!(
        list.starts_with(
            r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":""#
        ),
        "{list}"
    );
    assert!(list.ends_with(&format!("\"items\":[{item}]}}\n")), "{list}");
    let table = server
        .send(
            "GET",
            maps,
            &[("accept", "application/json;as=Table;g=meta.k8s.io;v=v1")],
            "",
        )
        .await
        .text();
    assert!(
        table.starts_with(
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":""#
        ),
        "{table}"
    );
    assert!(
        table.contains(
            r#""columnDefinitions":[{"name":"Name","type":"string","format":"name","description":""#
        ),
        "{table}"
    );
    assert!(
        table.contains(&format!(
            r#""object":{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",{META}"#
        )),
        "{table}"
    );

    let watch = server
        .get(&format!("{maps}?watch=1&timeoutSeconds=1"))
        .await
        .text();
    assert_eq!(
        watch,
        format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", made.trim_end())
    );
    server
        .patch(
            &format!("{maps}/a"),
            "merge",
            &json!({"metadata": {"labels": null}}),
        )
        .await
        .is(200);
    let since =
        serde_json::from_str::<serde_json::Value>(&made).unwrap()["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_string();
    let gone = server
        .get(&format!(
            "{maps}?watch=1&labelSelector=x%3Dy&resourceVersion={since}&timeoutSeconds=1"
        ))
        .await
        .text();
    assert!(gone.lines().last().is_some_and(|line| line.starts_with(&format!(r#"{{"type":"DELETED","object":{head}"#))), "{gone}");
}

#[tokio::test]
async fn so_are_documents_that_are_no_objects() {
    let server = Server::start().await;
    for (path, start) in [
        (
            "/api/v1",
            r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"bindings","singularName":"binding","namespaced":true,"kind":"Binding""#,
        ),
        (
            "/apis",
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"apiregistration.k8s.io","versions":[{"groupVersion":"#,
        ),
        (
            "/version",
            "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",",
        ),
        (
            "/openid/v1/jwks",
            r#"{"keys":[{"use":"sig","kty":"EC","kid":""#,
        ),
        (
            "/.well-known/openid-configuration",
            r#"{"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://127.0.0.1:"#,
        ),
        (
            "/api/v1/namespaces/none",
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"namespaces \"none\" not found","reason":"NotFound","details":{"name":"none","kind":"namespaces"},"code":404}"#,
        ),
    ] {
        let text = server.get(path).await.text();
        assert!(text.starts_with(start), "{path}: {text}");
    }
    let yaml = server
        .send(
            "GET",
            "/api/v1/namespaces/default",
            &[("accept", "application/yaml")],
            "",
        )
        .await
        .text();
    assert!(
        yaml.starts_with("apiVersion: v1\nkind: Namespace\nmetadata:\n  creationTimestamp: "),
        "{yaml}"
    );
}
