//! What was being deleted goes with the write that takes away the last thing it waited for, whatever that write was.

use serde_json::{Value, json};

use crate::server::Server;

async fn finalized(server: &Server, name: &str, rest: Value) -> Value {
    let mut namespace = server
        .get(&format!("/api/v1/namespaces/{name}"))
        .await
        .is(200)
        .json();
    namespace["spec"]["finalizers"] = rest;
    server
        .put(&format!("/api/v1/namespaces/{name}/finalize"), &namespace)
        .await
        .is(200)
        .json()
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let server = Server::start().await;
    server
        .make("/api/v1/namespaces", &json!({"metadata": {"name": "a"}}))
        .await;
    let marked = server.delete("/api/v1/namespaces/a").await.is(200).json();
    assert_eq!(
        (
            &marked["status"]["phase"],
            marked["metadata"].get("deletionGracePeriodSeconds")
        ),
        (&json!("Terminating"), None)
    );
    // again: it stays as it is
    let again = server.delete("/api/v1/namespaces/a").await.is(200).json();
    assert_eq!(again, marked);
    let answer = finalized(&server, "a", json!([])).await;
    assert_eq!(
        answer["metadata"]["resourceVersion"],
        marked["metadata"]["resourceVersion"]
    );
    server.get("/api/v1/namespaces/a").await.is(404);
}

#[tokio::test]
async fn a_namespace_waits_for_all_its_finalizers() {
    let server = Server::start().await;
    server
        .make("/api/v1/namespaces", &json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}, "spec": {"finalizers": ["example.com/y"]}}))
.await;
    server.delete("/api/v1/namespaces/a").await.is(200);
    finalized(&server, "a", json!(["example.com/y"])).await;
    finalized(&server, "a", json!([])).await;
    let left = server.get("/api/v1/namespaces/a").await.is(200).json();
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/x"]));
    server
        .patch(
            "/api/v1/namespaces/a",
            "merge",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .is(200);
    server.get("/api/v1/namespaces/a").await.is(404);
    // what was emptied before its deletion is marked first all the same
    server
        .make("/api/v1/namespaces", &json!({"metadata": {"name": "b"}}))
        .await;
    finalized(&server, "b", json!([])).await;
    server.delete("/api/v1/namespaces/b").await.is(200);
    server.get("/api/v1/namespaces/b").await.is(200);
    server.delete("/api/v1/namespaces/b").await.is(200);
    server.get("/api/v1/namespaces/b").await.is(404);
}

/// Each kind of write, of the whole and of a part.
#[tokio::test]
async fn the_last_finalizer_goes_by_any_write() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let nodes = "/api/v1/nodes";
    for way in ["put", "merge", "strategic-merge", "json", "apply", "status"] {
        let (path, kind) = if way == "status" {
            (nodes, "Node")
        } else {
            (maps, "ConfigMap")
        };
        let one = format!("{path}/{way}");
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": way, "finalizers": ["example.com/x"]}});
        // who applied the finalizer takes it away by leaving it out
        let made = if way == "apply" {
            server.apply(&one, &object).await
        } else {
            server.post(path, &object).await
        };
        made.is(201);
        let mut live = server.delete(&one).await.is(200).json();
        assert!(live["metadata"]["deletionTimestamp"].is_string(), "{way}");
        live["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
        match way {
            "put" => server.put(&one, &live).await.is(200),
            "status" => server.put(&format!("{one}/status"), &live).await.is(200),
            "json" => server
                .patch(
                    &one,
                    way,
                    &json!([{"op": "remove", "path": "/metadata/finalizers"}]),
                )
                .await
                .is(200),
            "apply" => server
                .apply(
                    &one,
                    &json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": way}}),
                )
                .await
                .is(200),
            _ => server
                .patch(&one, way, &json!({"metadata": {"finalizers": null}}))
                .await
                .is(200),
        };
        server.get(&one).await.is(404);
    }
}

/// A pod whose grace was shortened to nothing while a finalizer held it.
#[tokio::test]
async fn no_grace_left() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    server
        .make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p", "finalizers": ["example.com/x"]}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server.make(pods, &pod).await;
    server.delete(&format!("{pods}/p")).await.is(200);
    // the finalizer goes while grace runs: it stays
    server
        .patch(
            &format!("{pods}/p"),
            "merge",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .is(200);
    let waiting = server.get(&format!("{pods}/p")).await.is(200).json();
    assert_eq!(waiting["metadata"]["deletionGracePeriodSeconds"], 30);
    server
        .delete(&format!("{pods}/p?gracePeriodSeconds=0"))
        .await
        .is(200);
    server.get(&format!("{pods}/p")).await.is(404);
}

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server with the account that pods run as.
async fn with_account() -> Server {
    let server = Server::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server
        .make(accounts, &json!({"metadata": {"name": "default"}}))
        .await;
    server
}

/// A pod that a node has, and that is to have so many seconds to end.
fn pod(name: &str, grace: i64) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": grace, "containers": [{"name": "c", "image": "i"}]}})
}

/// Who watches sees the mark of an object that may have some time left, also of one that has none, and then its end.
#[tokio::test]
async fn an_object_that_goes_at_once_is_marked_before() {
    let server = with_account().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    server.make(PODS, &pod("short", 0)).await;
    server.make(PODS, &pod("long", 30)).await;
    let map = json!({"metadata": {"name": "map"}});
    let first = server.make(maps, &map).await.json();
    let since = first["metadata"]["resourceVersion"].as_str().unwrap();
    for path in [
        format!("{PODS}/short"),
        format!("{PODS}/long"),
        format!("{PODS}/long?gracePeriodSeconds=0"),
        format!("{maps}/map"),
    ] {
        server.delete(&path).await.is(200);
    }
    let seen = async |path: &str| -> Vec<String> {
        let path = format!("{path}?watch=true&timeoutSeconds=1&resourceVersion={since}");
        let text = server.get(&path).await.is(200).text();
        let told = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let meta = &event["object"]["metadata"];
            let (kind, name) = (event["type"].as_str(), meta["name"].as_str());
            let grace = &meta["deletionGracePeriodSeconds"];
            format!(
                "{} {} {grace} {}",
                kind.unwrap(),
                name.unwrap(),
                meta["generation"]
            )
        };
        text.lines().map(told).collect()
    };
    assert_eq!(
        seen(PODS).await,
        [
            "MODIFIED short 0 2",
            "DELETED short 0 2",
            "MODIFIED long 30 2",
            "MODIFIED long 0 2",
            "DELETED long 0 2"
        ]
    );
    assert_eq!(seen(maps).await, ["DELETED map null null"]);
}

/// Who marked a pod's end has deleted it, though others write its status and remove it meanwhile, as its node does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_ended_an_object_has_deleted_it() {
    let server = with_account().await;
    let one = format!("{PODS}/p");
    let pod = pod("p", 0);
    for _ in 0..60 {
        server.make(PODS, &pod).await;
        let ends = server.delete(&one);
        let writes = async |who: usize| {
            for turn in 0.. {
                let status = json!({"status": {"message": format!("{who} {turn}")}});
                let answer = server
                    .patch(&format!("{one}/status"), "merge", &status)
                    .await;
                let marked = answer.code == 200
                    && answer
                        .json()
                        .get("metadata")
                        .is_some_and(|meta| meta.get("deletionTimestamp").is_some());
                if marked {
                    server.delete(&format!("{one}?gracePeriodSeconds=0")).await;
                }
                if marked || answer.code == 404 {
                    break;
                }
            }
        };
        let (ended, ..) = tokio::join!(ends, writes(0), writes(1), writes(2));
        ended.is(200);
    }
}

#[tokio::test]
async fn what_is_answered_to_a_deletion() {
    let server = Server::start().await;
    let account = json!({"metadata": {"name": "default"}});
    server
        .make("/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    server.make(pods, &pod).await;
    // it goes at once, and says of itself that no time was left to it
    let gone = server.delete(&format!("{pods}/p")).await.is(200).json();
    let metadata = &gone["metadata"];
    assert_eq!(gone["kind"], "Pod");
    assert!(metadata["deletionTimestamp"].is_string(), "{metadata}");
    assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
    server.get(&format!("{pods}/p")).await.is(404);

    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let class = json!({"metadata": {"name": "c"}, "provisioner": "example.com/p"});
    server.make(classes, &class).await;
    let gone = server.delete(&format!("{classes}/c")).await.is(200).json();
    assert_eq!(gone["provisioner"], "example.com/p");

    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    server.make(jobs, &job).await;
    let answer = server.delete(&format!("{jobs}/j")).await.is(200);
    let said = answer.warnings.join(", ");
    assert!(
        said.contains("child pods are preserved by default"),
        "{said}"
    );

    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "m", "finalizers": ["example.com/x"], "labels": {"a": "b"}}, "data": {"k": "v"}});
    server.make(maps, &map).await;
    // of many there is told how they were
    let list = server
        .delete(&format!("{maps}?labelSelector=a"))
        .await
        .is(200)
        .json();
    assert_eq!(list["items"][0]["metadata"].get("deletionTimestamp"), None);
    let refused = server.post(maps, &map).await.is(409).json();
    assert_eq!(
        refused["message"],
        "object is being deleted: configmaps \"m\" already exists"
    );
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    let names = items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str());
    names.filter(|name| *name != "kube-root-ca.crt").collect()
}

/// `limit` and `continue` say which page of a collection goes, and its answer is that page.
#[tokio::test]
async fn a_collection_goes_page_by_page() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for number in 0..9 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        let map = json!({"metadata": {"name": format!("m{number}"), "labels": {"parity": parity}}});
        server.make(maps, &map).await;
    }
    let left = async || {
        let list = server.get(maps).await.is(200).json();
        names(&list).join(" ")
    };
    let delete = async |query: String| {
        let answer = server.delete(&format!("{maps}?{query}")).await;
        answer.is(200).json()
    };
    // a rehearsal tells the same and does nothing
    for dry in [true, false] {
        let dry_run = if dry { "&dryRun=All" } else { "" };
        let page = delete(format!("limit=2{dry_run}")).await;
        assert_eq!(names(&page), ["m0", "m1"]);
        assert_eq!(page["metadata"]["remainingItemCount"], 7);
        let token = page["metadata"]["continue"].as_str().unwrap();
        assert!(!token.is_empty());
        if dry {
            assert_eq!(left().await, "m0 m1 m2 m3 m4 m5 m6 m7 m8");
            continue;
        }
        assert_eq!(left().await, "m2 m3 m4 m5 m6 m7 m8");
        // the page after that one
        let page = delete(format!("limit=2&continue={token}")).await;
        assert_eq!(names(&page), ["m2", "m3"]);
        assert_eq!(left().await, "m4 m5 m6 m7 m8");
    }
    let page = delete("labelSelector=parity%3Deven&limit=2".into()).await;
    assert_eq!(names(&page), ["m4", "m6"]);
    assert!(page["metadata"]["continue"].is_string());
    assert_eq!(page["metadata"].get("remainingItemCount"), None);
    assert_eq!(left().await, "m5 m7 m8");
    // what is left of the rest, without a limit
    let first = server.get(&format!("{maps}?limit=1")).await.is(200).json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = delete(format!("continue={token}")).await;
    assert_eq!(names(&rest), ["m7", "m8"]);
    assert_eq!(rest["metadata"].get("continue"), None);
    assert_eq!(left().await, "m5");
    server
        .delete(&format!("{maps}?continue=nonsense"))
        .await
        .is(400);
    assert_eq!(left().await, "m5");
}

/// The classes that the system brings along are not deleted by their names.
#[tokio::test]
async fn system_priority_classes_stay() {
    let server = Server::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    for name in ["system-node-critical", "system-cluster-critical"] {
        let refused = server.delete(&format!("{classes}/{name}")).await.is(403);
        let said = format!(
            "priorityclasses.scheduling.k8s.io \"{name}\" is forbidden: this is a system priority class and cannot be deleted"
        );
        assert_eq!(refused.message(), said);
        assert_eq!(refused.json()["reason"], "Forbidden");
        server.get(&format!("{classes}/{name}")).await.is(200);
    }
    let mine = json!({"metadata": {"name": "mine"}, "value": 1});
    server.make(classes, &mine).await;
    server.delete(&format!("{classes}/mine")).await.is(200);
    // upstream's guard is of the single deletion alone
    server.delete(classes).await.is(200);
    let list = server.get(classes).await.is(200).json();
    assert!(names(&list).is_empty());
}

/// What an object must be to be deleted may stand in the query.
#[tokio::test]
async fn preconditions_of_the_query() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "a"}});
    let made = server.make(maps, &map).await.json();
    let path = format!("{maps}/a");
    for query in ["uid=other", "resourceVersion=1"] {
        server.delete(&format!("{path}?{query}")).await.is(409);
        server.delete(&format!("{maps}?{query}")).await.is(409);
    }
    let uid = made["metadata"]["uid"].as_str().unwrap();
    server.delete(&format!("{path}?uid={uid}")).await.is(200);
}
