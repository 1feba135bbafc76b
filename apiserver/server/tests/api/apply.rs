//! Server-side apply, from the first write on.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn what_was_applied_first_is_owned_and_taken_away_by_apply() {
    let server = Server::start().await;
    let map = "/api/v1/namespaces/default/configmaps/a";
    let config = |data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let made = server
        .apply(map, &config(json!({"x": "1", "y": "1"})))
        .await
        .is(201)
        .json();
    let entries = made["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(
        (
            entries.len(),
            &entries[0]["operation"],
            &entries[0]["manager"]
        ),
        (1, &json!("Apply"), &json!("test"))
    );
    let again = server
        .apply(map, &config(json!({"x": "1"})))
        .await
        .is(200)
        .json();
    assert_eq!(again["data"], json!({"x": "1"}));
    let other = server
        .send(
            "PATCH",
            &format!("{map}?fieldManager=other"),
            &[("content-type", "application/apply-patch+yaml")],
            config(json!({"x": "2"})).to_string(),
        )
        .await
        .is(409);
    assert!(
        other
            .message()
            .starts_with("Apply failed with 1 conflict: conflict with \"test\": .data.x"),
        "{}",
        other.message()
    );
}

/// Whoever applies a scale owns the replicas of the object, and whoever owns them is in the way of others.
#[tokio::test]
async fn replicas_are_owned_by_whoever_applies_the_scale() {
    let server = Server::start().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    server
        .apply(&format!("{deployments}/web"), &deployment)
        .await
        .is(201);
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let (path, apply) = (
        format!("{deployments}/web/scale"),
        [("content-type", "application/apply-patch+yaml")],
    );
    let refused = server
        .send(
            "PATCH",
            &format!("{path}?fieldManager=hpa"),
            &apply,
            scale.to_string(),
        )
        .await
        .is(409);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"test\": .spec.replicas"
    );
    server
        .send("PATCH", &path, &apply, scale.to_string())
        .await
        .is(422);
    server
        .send(
            "PATCH",
            &format!("{path}?fieldManager=hpa&force=true"),
            &apply,
            scale.to_string(),
        )
        .await
        .is(200);
    let owned =
        server.get(&format!("{deployments}/web")).await.json()["metadata"]["managedFields"].clone();
    let of = |manager: &str| {
        owned
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["manager"] == manager)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of("hpa")["subresource"], &of("hpa")["fieldsV1"]),
        (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    assert_eq!(
        (
            &of("hpa")["apiVersion"],
            of("test")["fieldsV1"]["f:spec"].get("f:replicas")
        ),
        (&json!("apps/v1"), None)
    );
    // a plain write takes them over
    server
        .patch(&path, "merge", &json!({"spec": {"replicas": 1}}))
        .await
        .is(200);
    let live = server.get(&format!("{deployments}/web")).await.json();
    assert_eq!(live["spec"]["replicas"], 1);
    assert!(
        live["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["manager"] != "hpa")
    );
}

/// Nobody owns what no write of the kind can change: whoever made a certificate request owns nothing of it, whoever decides it the conditions.
#[tokio::test]
async fn what_a_write_leaves_alone_is_nobodys() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let server = Server::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let pem = BASE64_STANDARD.encode(
        "\
-----BEGIN CERTIFICATE REQUEST-----\n\
MIGLMD8CAQAwDDEKMAgGA1UEAwwBZTAqMAUGAytlcAMhACU2C/DAaoD4cBXaLRUx\n\
MUpuDvWP0B4JcauLZTMzou5LoAAwBQYDK2VwA0EAyRfslmIWHSZf/GLPS/GpqvlT\n\
P7Y/xV5LMs+HHsXHTFmawhUCPQliW3dp6w9ODVhpu8UcFfY/ZuxZfZc6Bin3BA==\n\
-----END CERTIFICATE REQUEST-----\n\
",
    );
    let spec = json!({"request": pem, "usages": ["client auth"], "signerName": "example.com/a"});
    let made = server
        .make(requests, &json!({"metadata": {"name": "a"}, "spec": spec}))
        .await
        .json();
    assert_eq!(made["metadata"].get("managedFields"), None);
    // with field managers of its own again, an object tells who decided
    let spec = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"labels": {"a": "b"}}});
    server.apply(&format!("{requests}/a"), &spec).await.is(200);
    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "a", "message": "b"}]}});
    let approved = server
        .patch(&format!("{requests}/a/approval"), "merge", &approved)
        .await
        .is(200)
        .json();
    let owned = approved["metadata"]["managedFields"].as_array().unwrap();
    let decided = owned
        .iter()
        .find(|entry| entry["subresource"] == "approval")
        .unwrap();
    assert!(
        decided["fieldsV1"]["f:status"]["f:conditions"].is_object(),
        "{approved}"
    );
}
