//! What becomes of a request when a webhook does not convert.

use serde_json::{Value, json};

use super::{answer, boat, boats, converter, definition, establish, sailing};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

/// A server with boats that are asked about at this path, and one boat that is stored.
async fn with_boat(webhook: &Webhook, path: &str) -> Server {
    let server = Server::start().await;
    establish(&server, &definition(webhook.config(path))).await;
    server.make(&boats("v2"), &boat("v2", "a", 1)).await;
    server
}

/// What is said to who reads the boat in the version that is not stored.
async fn said(server: &Server) -> String {
    let path = format!("{}/a", boats("v1"));
    server.get(&path).await.is(500).message()
}

const OF: &str = "conversion webhook for sea.example.com/v2, Kind=Boat ";

#[tokio::test]
async fn objects_that_are_no_answer() {
    // what a webhook makes of an object, and what is said of it
    type Change = fn(Value) -> Value;
    let cases: [(Change, &str); 12] = [
        (
            |mut object| {
                object["apiVersion"] = "sea.example.com/v3".into();
                object
            },
            "returned invalid object at index 0: invalid groupVersion (expected sea.example.com/v1, received sea.example.com/v3)",
        ),
        (
            |mut object| {
                object["kind"] = "Ship".into();
                object
            },
            "returned invalid object at index 0: invalid kind (expected Boat, received Ship)",
        ),
        (
            |mut object| {
                object["metadata"]["name"] = "b".into();
                object
            },
            "returned invalid object: must have the same name: a != b",
        ),
        (
            |mut object| {
                object["metadata"]["namespace"] = "other".into();
                object
            },
            "returned invalid object: must have the same namespace: default != other",
        ),
        (
            |mut object| {
                object["metadata"]["uid"] = "u".into();
                object
            },
            "returned invalid object: must have the same UID: UID != u",
        ),
        (
            |mut object| {
                object.as_object_mut().unwrap().remove("metadata");
                object
            },
            "returned invalid object: must have the same name: a != ",
        ),
        (
            |mut object| {
                object["metadata"]["labels"] = json!([]);
                object
            },
            "returned invalid metadata: invalid metadata.labels of type []interface {} in converted object",
        ),
        (
            |mut object| {
                object["metadata"]["annotations"] = json!({"a": true});
                object
            },
            "returned invalid metadata: metadata.annotations[a] must be a string, but is bool in converted object",
        ),
        (
            |mut object| {
                object["metadata"]["labels"] = json!({"a": "not valid!"});
                object
            },
            "returned invalid metadata: metadata.labels: Invalid value: \"not valid!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (|_| json!({"apiVersion": "sea.example.com/v1"}), "!"),
        (|_| Value::Null, "!"),
        // what only looks odd: all of its metadata but labels and annotations is as it was
        (
            |mut object| {
                object["metadata"]["generation"] = 42.into();
                object["metadata"]["finalizers"] = json!(["foo"]);
                object["metadata"]["labels"] = json!({"by": "webhook"});
                object
            },
            "",
        ),
    ];
    let webhook = Webhook::start(move |path, request| {
        let at: usize = path.trim_start_matches('/').parse().unwrap();
        answer(request, cases[at].0)
    })
    .await;
    let server = Server::start().await;
    establish(&server, &definition(webhook.config("/0"))).await;
    let made = server.make(&boats("v2"), &boat("v2", "a", 1)).await.json();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    for (at, (_, wanted)) in cases.iter().enumerate() {
        super::redefine(&server, |definition| {
            definition["spec"]["conversion"]["webhook"]["clientConfig"] =
                webhook.config(&format!("/{at}"));
        })
        .await;
        match *wanted {
            "" => {
                let read = server
                    .get(&format!("{}/a", boats("v1")))
                    .await
                    .is(200)
                    .json();
                assert_eq!(
                    (
                        &read["metadata"]["labels"],
                        &read["metadata"]["generation"],
                        read["metadata"].get("finalizers")
                    ),
                    (&json!({"by": "webhook"}), &json!(1), None)
                );
            }
            "!" => {
                let told = said(&server).await;
                assert!(told.starts_with("Object 'Kind' is missing in '"), "{told}");
            }
            wanted => {
                let wanted = wanted.replace("UID:", "\u{0}").replace("UID", uid);
                let wanted = wanted.replace('\u{0}', "UID:");
                assert_eq!(said(&server).await, format!("{OF}{wanted}"));
            }
        }
    }
}

#[tokio::test]
async fn answers_that_are_none() {
    let webhook = Webhook::start(|path, _| match path {
        "/failure" => Reply::Response(
            json!({"convertedObjects": [], "result": {"status": "Failure", "message": "boats cannot be converted"}}),
        ),
        "/silent" => Reply::Response(json!({"result": {"status": "Failure"}})),
        "/few" => {
            Reply::Response(json!({"convertedObjects": [], "result": {"status": "Success"}}))
        }
        "/other" => Reply::Raw(
            200,
            json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": {"uid": "u"}})
                .to_string()
                .into(),
        ),
        "/nothing" => Reply::Raw(
            200,
            json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1"})
                .to_string()
                .into(),
        ),
        "/unnamed" => Reply::Raw(200, b"{}".to_vec()),
        "/garbage" => Reply::Raw(200, b"hello".to_vec()),
        "/empty" => Reply::Raw(200, Vec::new()),
        "/boom" => Reply::Raw(500, b"boom".to_vec()),
        _ => Reply::Raw(404, Vec::new()),
    })
    .await;
    let server = with_boat(&webhook, "/failure").await;
    for (path, wanted) in [
        ("/failure", "failed: boats cannot be converted"),
        (
            "/silent",
            "failed: response.result.status was 'Failure', not 'Success'",
        ),
        ("/few", "returned 0 objects, expected 1"),
        ("/other", "failed: expected response.uid=\"UID\", got \"u\""),
        ("/nothing", "failed: no response provided"),
        (
            "/unnamed",
            "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=",
        ),
        (
            "/garbage",
            "failed: couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
        ),
        (
            "/empty",
            "failed: 0-length response with status code: 200 and content type: text/plain",
        ),
        (
            "/boom",
            "failed: an error on the server (\"boom\") has prevented the request from succeeding",
        ),
        (
            "/lost",
            "failed: the server could not find the requested resource",
        ),
    ] {
        super::redefine(&server, |definition| {
            definition["spec"]["conversion"]["webhook"]["clientConfig"] = webhook.config(path);
        })
        .await;
        webhook.taken();
        let told = said(&server).await;
        let uid = webhook.taken()[0].1["uid"].as_str().unwrap().to_string();
        assert_eq!(
            told,
            format!("{OF}{}", wanted.replace("UID", &uid)),
            "{path}"
        );
    }
}

/// Every verb tells of it, in the words of the webhook.
#[tokio::test]
async fn all_verbs_fail() {
    let webhook = Webhook::start(|_, _| {
        Reply::Response(json!({"result": {"status": "Failure", "message": "no way"}}))
    })
    .await;
    let server = with_boat(&webhook, "/").await;
    let path = boats("v1");
    let one = format!("{path}/a");
    let stored = server.get(&format!("{}/a", boats("v2"))).await.json();
    let mut given = boat("v1", "a", 2);
    given["metadata"] = stored["metadata"].clone();
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 3}});
    for (what, answer) in [
        ("get", server.get(&one).await),
        ("list", server.get(&path).await),
        ("create", server.post(&path, &boat("v1", "b", 1)).await),
        ("update", server.put(&one, &given).await),
        ("patch", server.patch(&one, "merge", &patch).await),
        ("apply", server.apply(&one, &boat("v1", "a", 3)).await),
        ("delete", server.delete(&one).await),
        ("deletecollection", server.delete(&path).await),
        ("get status", server.get(&format!("{one}/status")).await),
        (
            "update status",
            server.put(&format!("{one}/status"), &given).await,
        ),
        (
            "patch status",
            server
                .patch(&format!("{one}/status"), "merge", &patch)
                .await,
        ),
        ("get scale", server.get(&format!("{one}/scale")).await),
        (
            "update scale",
            server.put(&format!("{one}/scale"), &scale).await,
        ),
        (
            "watch",
            server
                .get(&format!("{path}?watch=true&timeoutSeconds=1"))
                .await,
        ),
    ] {
        assert_eq!(answer.code, 500, "{what}: {}", answer.text());
        let told = answer.message();
        assert!(told.ends_with("failed: no way"), "{what}: {told}");
    }
    // nothing came of it, and the version that is stored needs nobody
    let path = boats("v2");
    assert_eq!(
        server.get(&path).await.is(200).json()["items"],
        json!([stored])
    );
    server.delete(&format!("{path}/a")).await.is(200);
}

/// A watch that is under way ends with the error, and its client lists again.
#[tokio::test]
async fn a_watch_ends_with_the_error() {
    let webhook = Webhook::start(|_, _| {
        Reply::Response(json!({"result": {"status": "Failure", "message": "no way"}}))
    })
    .await;
    let server = with_boat(&webhook, "/").await;
    let events = server
        .get(&format!(
            "{}?watch=true&timeoutSeconds=5&resourceVersion=1",
            boats("v1")
        ))
        .await
        .is(200)
        .json();
    assert_eq!(
        (&events["type"], &events["object"]["message"]),
        (&json!("ERROR"), &json!(format!("{OF}failed: no way")))
    );
}

/// One bad object fails a list; it is told which.
#[tokio::test]
async fn one_of_many() {
    let webhook = Webhook::start(|_, request| {
        answer(request, |mut object| {
            if object["metadata"]["name"] == "b" {
                object["kind"] = "Ship".into();
            }
            object
        })
    })
    .await;
    let server = with_boat(&webhook, "/").await;
    server.make(&boats("v2"), &boat("v2", "b", 1)).await;
    assert_eq!(
        server.get(&boats("v1")).await.is(500).message(),
        format!(
            "{OF}returned invalid converted object at index 1: invalid kind (expected Boat, received Ship)"
        )
    );
}

#[tokio::test]
async fn who_cannot_be_reached() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 1)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let other = converter().await;
    let mut distrusted = webhook.config("/");
    distrusted["caBundle"] = other.config("/")["caBundle"].clone();
    let url = format!("https://{}/", webhook.address);
    for (config, wanted) in [
        (
            json!({"url": format!("https://{closed}/")}),
            format!(
                "failed: Post \"https://{closed}/?timeout=30s\": dial tcp {closed}: connect: connection refused"
            ),
        ),
        (
            distrusted,
            format!("failed: Post \"{url}?timeout=30s\": tls: failed to verify certificate: "),
        ),
        (
            json!({"service": {"namespace": "default", "name": "none", "path": "/convert"}}),
            "failed: Post \"https://none.default.svc:443/convert?timeout=30s\": service \"none\" not found".into(),
        ),
    ] {
        super::redefine(&server, |definition| {
            definition["spec"]["conversion"]["webhook"]["clientConfig"] = config.clone();
        })
        .await;
        let told = said(&server).await;
        assert!(
            told.starts_with(&format!("{OF}{wanted}")),
            "{told}\n{wanted}"
        );
    }
}

#[tokio::test]
async fn one_that_hangs_costs_others_nothing() {
    let webhook = Webhook::start(|_, _| Reply::Never).await;
    let server = with_boat(&webhook, "/hang").await;
    let (v1, v2) = (format!("{}/a", boats("v1")), format!("{}/a", boats("v2")));
    let mut hanging = std::pin::pin!(server.get(&v1));
    for _ in 0..10 {
        tokio::select! {
            biased;
            answer = &mut hanging => panic!("{}", answer.text()),
            answer = server.get(&v2) => drop(answer.is(200)),
        }
    }
    // half a minute is what it has
    let told = hanging.await.is(500).message();
    assert!(
        told.starts_with(OF) && told.ends_with("/hang?timeout=30s\": context deadline exceeded"),
        "{told}"
    );
}
