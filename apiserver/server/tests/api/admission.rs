//! What admission makes of pods.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(server: &Server, name: &str, spec: Value) -> Answer {
    let mut pod =
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pod["spec"]
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    server.post(PODS, &pod).await
}

#[tokio::test]
async fn pods_have_the_overhead_and_the_nodes_of_their_runtime_class() {
    let server = Server::start().await;
    server
        .make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let scheduling = json!({"nodeSelector": {"sandbox": "yes"}, "tolerations": [{"key": "sandbox", "operator": "Exists"}]});
    let class = json!({"metadata": {"name": "sandboxed"}, "handler": "x", "overhead": {"podFixed": {"cpu": "250m"}}, "scheduling": scheduling});
    server
        .make("/apis/node.k8s.io/v1/runtimeclasses", &class)
        .await;
    server
        .make(
            "/apis/node.k8s.io/v1/runtimeclasses",
            &json!({"metadata": {"name": "plain"}, "handler": "x"}),
        )
        .await;

    let made = pod(
        &server,
        "a",
        json!({"runtimeClassName": "sandboxed", "nodeSelector": {"disk": "ssd"}}),
    )
    .await
    .is(201)
    .json();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(
        made["spec"]["nodeSelector"],
        json!({"disk": "ssd", "sandbox": "yes"})
    );
    assert!(
        made["spec"]["tolerations"]
            .as_array()
            .unwrap()
            .contains(&json!({"key": "sandbox", "operator": "Exists"}))
    );
    pod(
        &server,
        "same",
        json!({"runtimeClassName": "sandboxed", "overhead": {"cpu": "0.25"}}),
    )
    .await
    .is(201);

    for (name, spec, said) in [
        (
            "b",
            json!({"runtimeClassName": "absent"}),
            "pod rejected: RuntimeClass \"absent\" not found",
        ),
        (
            "c",
            json!({"runtimeClassName": "sandboxed", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            "d",
            json!({"runtimeClassName": "plain", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            "e",
            json!({"runtimeClassName": "sandboxed", "nodeSelector": {"sandbox": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; pod.spec.nodeSelector[sandbox] = no",
        ),
    ] {
        assert_eq!(
            pod(&server, name, spec).await.is(403).message(),
            format!("pods {name:?} is forbidden: {said}")
        );
    }
}

#[tokio::test]
async fn pods_bear_the_zone_of_their_node() {
    let server = Server::start().await;
    server
        .make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"});
    server
        .make(
            "/api/v1/nodes",
            &json!({"metadata": {"name": "node", "labels": labels}}),
        )
        .await;
    let wanted = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    assert_eq!(
        pod(&server, "made-there", json!({"nodeName": "node"}))
            .await
            .is(201)
            .json()["metadata"]["labels"],
        wanted
    );
    assert_eq!(
        pod(&server, "bound", json!({})).await.is(201).json()["metadata"].get("labels"),
        None
    );
    server
        .make(
            &format!("{PODS}/bound/binding"),
            &json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "node"}}),
        )
        .await;
    assert_eq!(
        server.get(&format!("{PODS}/bound")).await.json()["metadata"]["labels"],
        wanted
    );
}

/// What a pod was promised by its class does not change with the class.
#[tokio::test]
async fn priority_classes_stay() {
    let server = Server::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    server
        .make(classes, &json!({"metadata": {"name": "high"}, "value": 10}))
        .await;
    let refused = server
        .patch(&format!("{classes}/high"), "merge", &json!({"value": 11}))
        .await
        .is(422);
    assert_eq!(
        refused.message(),
        "PriorityClass.scheduling.k8s.io \"high\" is invalid: value: Forbidden: may not be changed in an update."
    );
    server
        .patch(
            &format!("{classes}/high"),
            "merge",
            &json!({"description": "x", "globalDefault": true}),
        )
        .await
        .is(200);
}

#[tokio::test]
async fn pods_keep_to_what_their_namespace_asks() {
    const NAMESPACE: &str = "/api/v1/namespaces/default";
    let label =
        |text: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": text}}});
    let server = Server::start().await;
    let account = json!({"metadata": {"name": "default"}});
    server
        .post(&format!("{NAMESPACE}/serviceaccounts"), &account)
        .await
        .is(201);
    let host = json!({"hostNetwork": true});
    pod(&server, "early", host.clone()).await.is(201);

    let wrong = server.patch(NAMESPACE, "merge", &label("strict")).await;
    assert_eq!(
        wrong.is(422).message(),
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": \
         must be one of privileged, baseline, restricted"
    );
    let asked = server.patch(NAMESPACE, "merge", &label("baseline")).await;
    assert_eq!(
        asked.is(200).warnings,
        [
            r#"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"""#,
            r#"299 - "early: host namespaces""#,
        ]
    );

    let refused = pod(&server, "late", host.clone()).await;
    assert_eq!(
        refused.is(403).message(),
        "pods \"late\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    pod(&server, "fine", json!({})).await.is(201);
    // what changes nothing that is checked goes on
    let mark = json!({"metadata": {"labels": {"a": "b"}}});
    server
        .patch(&format!("{PODS}/early"), "merge", &mark)
        .await
        .is(200);
    let another = json!({"spec": {"containers": [{"name": "c", "image": "other"}]}});
    server
        .patch(&format!("{PODS}/early"), "strategic-merge", &another)
        .await
        .is(403);

    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]},
        },
    }});
    let made = server
        .post("/apis/apps/v1/namespaces/default/deployments", &deployment)
        .await
        .is(201);
    assert_eq!(
        made.warnings,
        [
            r#"299 - "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)""#
        ]
    );
}

#[tokio::test]
async fn who_is_exempt_from_pod_security_and_what_others_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admission.yaml");
    let plugin = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
        defaults: {enforce: baseline, warn: restricted}\n\
        exemptions: {namespaces: [free], runtimeClasses: [boxed], usernames: [robot]}\n";
    std::fs::write(folder.path().join("pods.yaml"), plugin).unwrap();
    let text = |plugins: &str| {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{plugins}]\n"
        )
    };
    std::fs::write(&file, text("{name: PodSecurity, path: pods.yaml}")).unwrap();
    let at = file.clone();
    let server = Server::with(|config| config.admission.configuration = Some(at)).await;
    let class = json!({"metadata": {"name": "boxed"}, "handler": "boxed"});
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    server.post(classes, &class).await.is(201);
    let label = json!({"metadata": {"name": "free", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let made = server.post("/api/v1/namespaces", &label).await.is(201);
    assert_eq!(
        made.warnings,
        [
            r#"299 - "namespace \"free\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored""#
        ]
    );
    for namespace in ["default", "free"] {
        let account = json!({"metadata": {"name": "default"}});
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        server.post(&accounts, &account).await.is(201);
    }
    let host = json!({"hostNetwork": true});
    let refused = pod(&server, "held", host.clone()).await;
    assert_eq!(
        refused.is(403).message(),
        "pods \"held\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let warned = pod(&server, "warned", json!({})).await.is(201).warnings;
    assert!(
        warned[0].starts_with(r#"299 - "would violate PodSecurity \"restricted:latest\""#),
        "{warned:?}"
    );
    let boxed = json!({"hostNetwork": true, "runtimeClassName": "boxed"});
    let let_in = pod(&server, "boxed", boxed).await.is(201);
    assert!(let_in.warnings.is_empty(), "{:?}", let_in.warnings);
    let free = json!({"metadata": {"name": "free"}, "spec": {"hostPID": true, "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/free/pods";
    server.post(pods, &free).await.is(201);
    server.stop().await;

    for (plugins, wanted) in [
        (
            "{name: EventRateLimit, path: x}",
            "admission plugin \"EventRateLimit\" takes no configuration here",
        ),
        (
            "{name: PodSecurity, path: nosuch.yaml}",
            "couldn't init admission plugin \"PodSecurity\": open ",
        ),
        (
            "{name: PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: strict}}}",
            "couldn't init admission plugin \"PodSecurity\": defaults.enforce: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
        ),
        (
            "{name: PodSecurity, more: x}",
            "failed to read plugin config: strict decoding error: unknown field \"plugins[0].more\"",
        ),
    ] {
        std::fs::write(&file, text(plugins)).unwrap();
        let data = skiff_server::Data::Memory;
        let mut config = skiff_server::Config::new(data, folder.path().join("pki"));
        config.admission.configuration = Some(file.clone());
        match skiff_server::start(config).await {
            Ok(_) => panic!("{plugins}"),
            Err(why) => assert!(why.to_string().starts_with(wanted), "{why}"),
        }
    }
}
