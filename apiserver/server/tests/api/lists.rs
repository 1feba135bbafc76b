//! Lists: over all namespaces, in pages, and on after their revision is gone.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn every_namespaced_kind_is_listed_over_all_namespaces() {
    let server = Server::start().await;
    let endpoints = json!({"metadata": {"name": "x"}, "subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}]});
    for (path, plural, object) in [
        ("api/v1", "configmaps", json!({"metadata": {"name": "x"}})),
        ("api/v1", "endpoints", endpoints),
        (
            "api/v1",
            "serviceaccounts",
            json!({"metadata": {"name": "x"}}),
        ),
        (
            "apis/coordination.k8s.io/v1",
            "leases",
            json!({"metadata": {"name": "x"}, "spec": {}}),
        ),
    ] {
        server
            .make(&format!("/{path}/namespaces/default/{plural}"), &object)
            .await;
        let list = server
            .get(&format!("/{path}/{plural}"))
            .await
            .is(200)
            .json();
        let names: Vec<&str> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        assert!(names.contains(&"x"), "{plural}: {names:?}");
    }
}

#[tokio::test]
async fn services_have_their_addresses_as_objects() {
    let server = Server::start().await;
    let cidr = server
        .get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            &cidr["spec"]["cidrs"],
            &cidr["status"]["conditions"][0]["status"]
        ),
        (&json!(["10.96.0.0/16"]), &json!("True"))
    );
    let first = server
        .get("/apis/networking.k8s.io/v1/ipaddresses/10.96.0.1")
        .await
        .is(200)
        .json();
    assert_eq!(
        first["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "kubernetes"})
    );
    let services = "/api/v1/namespaces/default/services";
    let service = server
        .make(
            services,
            &json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}),
        )
        .await
        .json();
    let address = format!(
        "/apis/networking.k8s.io/v1/ipaddresses/{}",
        service["spec"]["clusterIP"].as_str().unwrap()
    );
    server.get(&address).await.is(200);
    server.delete(&format!("{services}/a")).await.is(200);
    server.get(&address).await.is(404);
}

/// The second page of a list whose revision is gone: told so, and how to go on.
#[tokio::test]
async fn a_list_goes_on_after_its_revision_is_gone() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c", "d"] {
        server
            .make(maps, &json!({"metadata": {"name": name}}))
            .await;
    }
    let first = server.get(&format!("{maps}?limit=1")).await.is(200).json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let name = |list: &serde_json::Value| {
        list["items"][0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_string()
    };
    // what the server gives when the token's revision is gone
    let gone = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"default/a\u0000"}"#)
    };
    server.delete(&format!("{maps}/b")).await.is(200);
    let second = server
        .get(&format!("{maps}?limit=1&continue={gone}"))
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            name(&second).as_str(),
            &second["metadata"]["remainingItemCount"]
        ),
        ("c", &json!(1))
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = server
        .get(&format!("{maps}?limit=1&continue={token}"))
        .await
        .is(200)
        .json();
    assert_eq!(
        (name(&third).as_str(), third["metadata"].get("continue")),
        ("d", None)
    );
}

#[tokio::test]
async fn a_limit_counts_for_nothing_where_any_revision_will_do() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c"] {
        server
            .make(maps, &json!({"metadata": {"name": name}}))
            .await;
    }
    for (query, pages) in [
        ("limit=2", true),
        ("limit=2&resourceVersion=0", false),
        (
            "limit=2&resourceVersion=0&resourceVersionMatch=NotOlderThan",
            false,
        ),
    ] {
        let list = server.get(&format!("{maps}?{query}")).await.is(200).json();
        let length = list["items"].as_array().unwrap().len();
        assert_eq!(
            (length == 2, list["metadata"]["continue"].is_string()),
            (pages, pages),
            "{query}: {list}"
        );
    }
    let events = "/api/v1/namespaces/default/events";
    for name in ["a", "b"] {
        let event = json!({"metadata": {"name": name}, "involvedObject": {"kind": "ConfigMap", "namespace": "default", "name": "a"}});
        server.make(events, &event).await;
    }
    for path in [events, "/apis/events.k8s.io/v1/namespaces/default/events"] {
        let list = server
            .get(&format!("{path}?limit=1&resourceVersion=0"))
            .await
            .is(200)
            .json();
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            1,
            "events are in no cache"
        );
    }
}

/// Text of JSON without the spaces that are for people.
fn compact(pretty: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let ends = *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        in_string ^= ends;
        in_string || ends || !c.is_ascii_whitespace()
    };
    pretty.chars().filter(keep).collect()
}

/// Rows are written from the stored bytes where that can be, and come out as they do where they are made of objects.
#[tokio::test]
async fn tables_of_stored_bytes_are_those_of_objects() {
    let server = Server::start().await;
    let metadata = |name: &str| {
        json!({"name": name, "labels": {"b": "c", "a": "d"}, "annotations": {"note": "<&> é a \"quoted\" \\ word\n  and a line"},
            "finalizers": ["example.com/stay"], "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]})
    };
    let account = json!({"metadata": {"name": "default"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.make(accounts, &account).await;
    let containers = json!([{"name": "c", "image": "i"}]);
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["waits", "ended", "failed"] {
        let pod = json!({"metadata": metadata(name), "spec": {"containers": containers}});
        server.make(pods, &pod).await;
    }
    for (name, phase) in [("ended", "Succeeded"), ("failed", "Failed")] {
        let status = json!({"status": {"phase": phase}});
        let path = format!("{pods}/{name}/status");
        server.patch(&path, "merge", &status).await.is(200);
    }
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": metadata("m"), "data": {"managedFields": "metadata"}});
    server.make(maps, &map).await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployment = json!({"metadata": metadata("d"), "spec": spec});
    server.make(deployments, &deployment).await;
    for version in ["v1", "v1beta1"] {
        let form = format!("application/json;as=Table;g=meta.k8s.io;v={version}");
        let text = async |path: String| {
            let accept = [("accept", form.as_str())];
            server.send("GET", &path, &accept, "").await.is(200).text()
        };
        for path in [
            pods,
            maps,
            deployments,
            "/api/v1/pods",
            "/api/v1/namespaces",
        ] {
            for query in ["limit=2", "labelSelector=b", "labelSelector=none"] {
                let written = text(format!("{path}?{query}")).await;
                let made = text(format!("{path}?{query}&pretty=1")).await;
                // the ages of what was made a moment ago are those of the moment
                let ages = |text: &str| {
                    let age = |second: u32| text.contains(&format!("\"{second}s\""));
                    (0..60).find(|second| age(*second))
                };
                if ages(&written) == ages(&made) {
                    assert_eq!(written.trim_end(), compact(&made), "{path}?{query}");
                }
            }
        }
    }
}

/// Pages of one list are of one revision, tell how much is left, and make up the whole.
#[tokio::test]
async fn pages_make_up_the_list() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let names: Vec<String> = (0..40).map(|at| format!("map-{at:02}")).collect();
    for name in &names {
        server
            .make(maps, &json!({"metadata": {"name": name}}))
            .await;
    }
    let (mut seen, mut revision, mut next) = (Vec::new(), None, String::new());
    loop {
        let path = format!("{maps}?limit=17&continue={next}");
        let page = server.get(&path).await.is(200).json();
        let items = page["items"].as_array().unwrap();
        let names = items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap());
        seen.extend(names.map(str::to_owned));
        let meta = &page["metadata"];
        let of = revision.get_or_insert_with(|| meta["resourceVersion"].clone());
        assert_eq!(meta["resourceVersion"], *of);
        let left = meta["remainingItemCount"].as_u64().unwrap_or(0) as usize;
        assert_eq!(left, 40 - seen.len());
        // what comes meanwhile is of another revision
        let late = json!({"metadata": {"name": format!("map-late-{}", seen.len())}});
        server.make(maps, &late).await;
        match meta["continue"].as_str() {
            Some(more) => next = more.into(),
            None => break,
        }
    }
    assert_eq!(seen, names);
}

/// Whether there is more is told by what is left, selected or not; what one name selects is no page of anything.
#[tokio::test]
async fn a_page_tells_of_what_is_left_to_look_at() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c"] {
        let labels = json!({"of": name});
        let map = json!({"metadata": {"name": name, "labels": labels}});
        server.make(maps, &map).await;
    }
    let account = json!({"metadata": {"name": "default"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.make(accounts, &account).await;
    let pods = "/api/v1/namespaces/default/pods";
    for (name, node) in [("p", "one"), ("q", "two"), ("r", "two")] {
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"metadata": {"name": name, "labels": {"of": name}}, "spec": spec});
        server.make(pods, &pod).await;
    }
    let seen = async |path: String| {
        let list = server.get(&path).await.is(200).json();
        let items = list["items"].as_array().unwrap().iter();
        let names: Vec<String> = items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_string())
            .collect();
        let next = list["metadata"]["continue"].as_str().unwrap_or_default();
        (names.join(" "), next.to_string())
    };
    for (path, names, more) in [
        (format!("{maps}?limit=1&labelSelector=of=a"), "a", true),
        (format!("{maps}?limit=1&labelSelector=of=c"), "c", false),
        (
            format!("{maps}?limit=1&fieldSelector=metadata.name=a"),
            "a",
            false,
        ),
        // of all namespaces no single key is known
        (
            "/api/v1/configmaps?limit=1&fieldSelector=metadata.name=a".into(),
            "a",
            true,
        ),
        // but of one it is
        (
            "/api/v1/configmaps?limit=1&fieldSelector=metadata.name=a,metadata.namespace=default"
                .into(),
            "a",
            false,
        ),
        (
            format!("{pods}?limit=1&fieldSelector=spec.nodeName=one"),
            "p",
            false,
        ),
        (
            format!("{pods}?limit=1&fieldSelector=spec.nodeName=two"),
            "q",
            true,
        ),
        (
            format!("{pods}?limit=1&fieldSelector=spec.nodeName=two&labelSelector=of=q"),
            "q",
            true,
        ),
    ] {
        let (found, next) = seen(path.clone()).await;
        assert_eq!((found.as_str(), !next.is_empty()), (names, more), "{path}");
    }
    let (_, next) = seen(format!("{maps}?limit=1&labelSelector=of=a")).await;
    let rest = format!("{maps}?limit=1&labelSelector=of=a&continue={next}");
    assert_eq!(seen(rest).await, (String::new(), String::new()));
    // a list that goes on at any revision has no limit
    let (_, next) = seen(format!("{maps}?limit=1")).await;
    let rest = format!("{maps}?limit=1&resourceVersion=0&continue={next}");
    assert_eq!(seen(rest).await, ("b c".to_string(), String::new()));
}

/// Parts of the control plane are selected like anything.
#[tokio::test]
async fn components_are_selected() {
    let server = Server::start().await;
    let all = "/api/v1/componentstatuses";
    for (query, count) in [
        ("", 3),
        ("fieldSelector=metadata.name=scheduler", 1),
        ("fieldSelector=metadata.name!=scheduler", 2),
        ("labelSelector=a=b", 0),
        ("labelSelector=!a&limit=1", 3),
    ] {
        let list = server.get(&format!("{all}?{query}")).await.is(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["fieldSelector=a=b", "labelSelector=a%20in", "limit=x"] {
        server.get(&format!("{all}?{query}")).await.is(400);
    }
}
