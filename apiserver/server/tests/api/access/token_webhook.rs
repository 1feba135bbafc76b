//! A webhook that knows tokens.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_server::access::authentication::TokenWebhook;

use super::{Folder, who};
use crate::{
    https_server::{Asked, HttpsServer},
    server::Server,
};

const API: &str = "https://kubernetes.default.svc.cluster.local";

#[tokio::test]
async fn a_webhook_knows_tokens() {
    let folder = Folder::new();
    let asked = Arc::<Mutex<Vec<Value>>>::default();
    let taking = asked.clone();
    let webhook = HttpsServer::start(move |request: Asked| {
        assert_eq!(request.query, "timeout=30s");
        let review: Value = serde_json::from_slice(&request.body).unwrap();
        taking.lock().push(review.clone());
        let user =
            json!({"username": "anna", "uid": "7", "groups": ["ops"], "extra": {"a": ["b"]}});
        let status = match review["spec"]["token"].as_str().unwrap() {
            "good" => json!({"authenticated": true, "user": user}),
            "for-others" => json!({"authenticated": true, "user": user, "audiences": ["others"]}),
            "for-us" => json!({"authenticated": true, "user": user, "audiences": [API, "others"]}),
            "told" => json!({"authenticated": false, "error": "it was taken back"}),
            "broken" => return Some((403, b"go away".to_vec())),
            _ => json!({"authenticated": false}),
        };
        let answer =
            json!({"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status});
        Some((200, answer.to_string().into_bytes()))
    })
    .await;
    let options = TokenWebhook {
        config_file: folder.kubeconfig("webhook", &webhook, "/"),
        version: "v1".into(),
        cache_ttl: Duration::from_secs(60),
    };
    let server = Server::with(|config| config.authentication.token_webhook = Some(options)).await;
    let anna = json!({"username": "anna", "uid": "7", "groups": ["ops", "system:authenticated"], "extra": {"a": ["b"]}});
    for _ in 0..2 {
        assert_eq!(who(&server, "good").await, Ok(anna.clone()));
        assert_eq!(who(&server, "bad").await, Err(401));
    }
    let seen = std::mem::take(&mut *asked.lock());
    let spec = |token: &str| json!({"token": token, "audiences": [API]});
    let specs: Vec<&Value> = seen.iter().map(|review| &review["spec"]).collect();
    assert_eq!(specs, [&spec("good"), &spec("bad")]);
    assert_eq!(seen[0]["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(who(&server, "for-us").await, Ok(anna));
    assert_eq!(who(&server, "for-others").await, Err(401));
    let review = async |spec: Value| {
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = server.post(path, &json!({ "spec": spec })).await.is(201);
        answer.json()["status"].clone()
    };
    let said = |error: &str| json!({"user": {}, "error": error});
    assert_eq!(
        review(json!({"token": "told"})).await,
        said("it was taken back")
    );
    assert_eq!(review(json!({"token": "broken"})).await, said("go away"));
    assert_eq!(
        review(json!({"token": "bad"})).await,
        said("invalid bearer token")
    );
    // who asks for other audiences is told whether the token is for those
    let others = review(json!({"token": "for-others", "audiences": ["others", "more"]})).await;
    assert_eq!(others["audiences"], json!(["others"]));
}
