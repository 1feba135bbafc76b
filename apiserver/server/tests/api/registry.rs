//! A kind that comes while the server runs, and goes again: that of the guide (`kinds/README.md`). `controllers/garbage.rs` sees it go with its owner and its namespace.

use serde_json::{Value, json};
use skiff_api::kinds::Registry;

use crate::{
    server::Server,
    widget::{beside, made},
};

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn names(list: &Value, of: &str) -> Vec<String> {
    list[of]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item["name"].as_str().unwrap_or("").to_string())
        .collect()
}

async fn serving() -> Server {
    let server = Server::start().await;
    server.app.serve(beside);
    server
}

#[tokio::test]
async fn it_is_discovered_and_described_as_long_as_it_is_there() {
    let server = Server::start().await;
    server.get(WIDGETS).await.is(404);
    let before = server.get("/openapi/v2").await.is(200).json();
    server.app.serve(beside);

    let groups = server.get("/apis").await.is(200).json();
    assert!(
        names(&groups, "groups").contains(&"example.com".to_string()),
        "{groups}"
    );
    let resources = server.get("/apis/example.com/v1").await.is(200).json();
    assert_eq!(
        names(&resources, "resources"),
        ["widgets", "widgets/scale", "widgets/status"]
    );
    assert_eq!(
        (
            &resources["resources"][0]["shortNames"],
            &resources["resources"][0]["categories"]
        ),
        (&json!(["wg"]), &json!(["all"]))
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let whole = server
        .send("GET", "/apis", &[("accept", aggregated)], "")
        .await
        .is(200)
        .text();
    assert!(whole.contains(r#""resource":"widgets""#), "{whole}");
    let paths = server.get("/").await.json()["paths"].to_string();
    assert!(paths.contains("/apis/example.com/v1"), "{paths}");

    let index = server.get("/openapi/v3").await.is(200).json();
    assert!(index["paths"].get("apis/example.com/v1").is_some());
    let document = server
        .get("/openapi/v3/apis/example.com/v1")
        .await
        .is(200)
        .json();
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["parts"]["x-kubernetes-list-map-keys"],
        json!(["name"]),
        "{schema}"
    );
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Widget"}])
    );
    assert!(
        document["paths"]
            .get("/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/scale")
            .is_some()
    );
    assert!(
        server.get("/openapi/v2").await.json()["definitions"]
            .get("com.example.v1.WidgetList")
            .is_some()
    );

    server.app.serve(|_| Registry::clone(Registry::builtin()));
    server.get(WIDGETS).await.is(404);
    server.get("/apis/example.com/v1").await.is(404);
    assert_eq!(server.get("/openapi/v2").await.json(), before);
}

#[tokio::test]
async fn it_is_written_by_its_rules() {
    let server = serving().await;
    let refused = server.post(WIDGETS, &made("w", "blue")).await.is(422);
    assert_eq!(
        refused.message(),
        r#"Widget.example.com "w" is invalid: spec.color: Unsupported value: "blue": supported values: "green", "red""#
    );
    let mut odd = made("w", "red");
    odd["spec"]["replicas"] = "two".into();
    server.post(WIDGETS, &odd).await.is(400);
    let mut unknown = made("w", "red");
    unknown["spec"]["colour"] = "red".into();
    let refused = server
        .post(&format!("{WIDGETS}?fieldValidation=Strict"), &unknown)
        .await
        .is(400)
        .message();
    assert!(
        refused.contains(r#"unknown field "spec.colour""#),
        "{refused}"
    );

    let first = server.make(WIDGETS, &made("w", "red")).await.json();
    assert_eq!(
        (&first["metadata"]["generation"], first.get("status")),
        (&json!(1), Some(&json!({}))),
        "the status is not a client's: {first}"
    );
    server.post(WIDGETS, &made("w", "red")).await.is(409);
    let patched = server
        .patch(
            &format!("{WIDGETS}/w"),
            "merge",
            &json!({"spec": {"color": "green"}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(patched["metadata"]["generation"], 2);
    server
        .patch(
            &format!("{WIDGETS}/w"),
            "merge",
            &json!({"spec": {"color": "blue"}}),
        )
        .await
        .is(422);

    let told = server
        .patch(
            &format!("{WIDGETS}/w/status"),
            "merge",
            &json!({"spec": {"color": "red"}, "status": {"replicas": 1}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            &told["spec"]["color"],
            &told["status"]["replicas"],
            &told["metadata"]["generation"]
        ),
        (&json!("green"), &json!(1), &json!(2))
    );
    let scale = server
        .get(&format!("{WIDGETS}/w/scale"))
        .await
        .is(200)
        .json();
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["replicas"]),
        (&json!(2), &json!(1))
    );
    server
        .patch(
            &format!("{WIDGETS}/w/scale"),
            "merge",
            &json!({"spec": {"replicas": 5}}),
        )
        .await
        .is(200);
    assert_eq!(
        server.get(&format!("{WIDGETS}/w")).await.json()["spec"]["replicas"],
        5
    );
}

/// Lists whose elements have keys are merged by them, and who applied what is known.
#[tokio::test]
async fn it_is_applied_by_its_schema() {
    let server = serving().await;
    server
        .make(&format!("{WIDGETS}?fieldManager=maker"), &made("w", "red"))
        .await;
    let parts = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"parts": [{"name": "b", "size": 7}, {"name": "c"}]}});
    let merged = server
        .apply(&format!("{WIDGETS}/w"), &parts)
        .await
        .is(200)
        .json();
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "a", "size": 1}, {"name": "b", "size": 7}, {"name": "c"}])
    );
    let less = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"parts": [{"name": "b", "size": 7}]}});
    let merged = server
        .apply(&format!("{WIDGETS}/w"), &less)
        .await
        .is(200)
        .json();
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "a", "size": 1}, {"name": "b", "size": 7}])
    );
}

#[tokio::test]
async fn it_is_listed_selected_and_watched() {
    let server = serving().await;
    for (name, color) in [("one", "red"), ("two", "green"), ("three", "red")] {
        server.make(WIDGETS, &made(name, color)).await;
    }
    let list = server
        .get("/apis/example.com/v1/widgets?fieldSelector=spec.color%3Dred")
        .await
        .is(200)
        .json();
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&json!("WidgetList"), 2)
    );
    server
        .get(&format!("{WIDGETS}?fieldSelector=spec.replicas%3D2"))
        .await
        .is(400);
    let table = server
        .send(
            "GET",
            WIDGETS,
            &[("accept", "application/json;as=Table;g=meta.k8s.io;v=v1")],
            "",
        )
        .await
        .is(200)
        .json();
    assert_eq!(
        names(&table, "columnDefinitions"),
        ["Name", "Color", "Parts", "Age"]
    );
    assert_eq!(
        (
            &table["columnDefinitions"][1]["description"],
            &table["columnDefinitions"][2]["priority"]
        ),
        (&json!("The color of the widget."), &json!(1))
    );
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("one"), json!("red"), json!("a,b")]);

    let events = server.get(&format!("{WIDGETS}?watch=true&resourceVersion=0&fieldSelector=spec.color%3Dgreen&timeoutSeconds=1")).await.is(200).text();
    let event: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("two"))
    );
    server.delete(&format!("{WIDGETS}/two")).await.is(200);
    server.get(&format!("{WIDGETS}/two")).await.is(404);
    server.send("DELETE", WIDGETS, &[], "").await.is(200);
    assert_eq!(server.get(WIDGETS).await.json()["items"], json!([]));
}
