//! What controllers do that no other scenario has them do: each has the right to it, which the plane looks at when it ends.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::plane::{Plane, deployment, now, template};

/// Asks for a certificate of `system:node:one`.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIck1JR1RBZ0VBTURFeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVZTUJZR0ExVUVBd3dQYzNsegpkR1Z0T201dlpHVTZiMjVsTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFOHhRVGhxa2liN2xkClFVU3dXSElwSkpUMkR4ZEV6WFpBekQzNjhPUVBSSVF5a0JiYWZrbCtvQWRtUExUM0c2bFd4aVprNjcxMGlyNXIKMTFEcVhMcjdCS0FBTUFvR0NDcUdTTTQ5QkFNQ0EwY0FNRVFDSUdoUmpaamI0SzZFQ2ZaU0RhdHp2R0IxWllacAp5emZ2VGpqMUdpSitKeVI3QWlCT2t6bDdNaE1Ob0pRRUE4RFlpMUFDNnJPTzFIVUsrK2hJdk5GZkxvaEF4Zz09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

async fn plane() -> Plane {
    Plane::with(|options| {
        options.controllers = [
            "*",
            "bootstrap-signer-controller",
            "token-cleaner-controller",
        ]
        .map(String::from)
        .into();
        (
            options.node_monitor_period,
            options.node_monitor_grace_period,
        ) = (Duration::from_millis(100), Duration::from_secs(1));
        options.allocate_node_cidrs = true;
        options.horizontal_pod_autoscaler.sync_period = Duration::from_millis(200);
        options.cluster_signing = Some(Arc::new(|_, _, _| {
            // a sequence, which is all that is asked of it
            Ok("-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n".into())
        }));
        options.token_signer = Some(Arc::new(|_, secret| Ok(format!("token of {secret}"))));
    })
    .await
}

/// The look at the end sees what is to be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_noticed() {
    let plane = Plane::start().await;
    plane.patch("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:controller:deployment-controller", json!({"rules": []})).await;
    plane
        .create(
            "/apis/apps/v1/namespaces/default/deployments",
            deployment("web", 1),
        )
        .await;
    let wanted = "User \"system:serviceaccount:kube-system:deployment-controller\" cannot create resource \"replicasets\"";
    plane
        .until("a refusal", async || {
            plane
                .refused()
                .iter()
                .any(|message| message.contains(wanted))
        })
        .await;
}

async fn field(plane: &Plane, path: &str, pointer: &str) -> Value {
    plane
        .get(path)
        .await
        .and_then(|object| object.pointer(pointer).cloned())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_their_certificates() {
    let plane = plane().await;
    plane.node("one", json!({})).await;
    let node = "/api/v1/nodes/one";
    plane
        .until("a pod network", async || {
            field(&plane, node, "/spec/podCIDR").await == "10.244.0.0/24"
        })
        .await;
    plane
        .until("a time to live", async || {
            field(
                &plane,
                node,
                "/metadata/annotations/node.alpha.kubernetes.io~1ttl",
            )
            .await
                == "0"
        })
        .await;
    plane.pod("there", json!({})).await;
    plane.placed("there").await;
    plane.is_in_phase("there", "Running").await;
    // nobody is heard of it any more
    plane
        .until("it is not heard of", async || {
            field(&plane, node, "/spec/taints")
                .await
                .to_string()
                .contains("node.kubernetes.io/unreachable")
        })
        .await;
    plane
        .until("its pod is not ready", async || {
            field(
                &plane,
                "/api/v1/namespaces/default/pods/there",
                "/status/conditions",
            )
            .await
            .to_string()
            .contains("\"False\"")
        })
        .await;

    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let spec = json!({"request": REQUEST, "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"]});
    plane
        .create(requests, json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "node"}, "spec": spec}))
        .await;
    plane
        .until("a certificate", async || {
            field(&plane, &format!("{requests}/node"), "/status/certificate")
                .await
                .is_string()
        })
        .await;
    plane.delete(node).await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_roles_and_tokens() {
    let plane = plane().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let role = |name: &str, rest: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name, "labels": {}}});
        skiff_api::machinery::patch::merge::apply(&mut role, rest, false).unwrap();
        role
    };
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    plane
        .create(
            roles,
            role(
                "part",
                json!({"metadata": {"labels": {"to": "sum"}}, "rules": rules}),
            ),
        )
        .await;
    plane.create(roles, role("sum", json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "sum"}}]}}))).await;
    plane
        .until("the sum of roles", async || {
            field(&plane, &format!("{roles}/sum"), "/rules").await == rules
        })
        .await;

    let secret = |name: &str, kind: &str, rest: Value| {
        let mut secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind});
        skiff_api::machinery::patch::merge::apply(&mut secret, rest, false).unwrap();
        secret
    };
    let token =
        json!({"metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}});
    plane
        .create(
            "/api/v1/namespaces/default/secrets",
            secret("t", "kubernetes.io/service-account-token", token),
        )
        .await;
    plane
        .until("a token", async || {
            field(
                &plane,
                "/api/v1/namespaces/default/secrets/t",
                "/data/token",
            )
            .await
            .is_string()
        })
        .await;
    plane
        .delete("/api/v1/namespaces/default/serviceaccounts/default")
        .await;
    plane
        .until("the token's end", async || {
            plane
                .get("/api/v1/namespaces/default/secrets/t")
                .await
                .is_none()
        })
        .await;
    plane
        .until("another account", async || {
            plane
                .get("/api/v1/namespaces/default/serviceaccounts/default")
                .await
                .is_some()
        })
        .await;
    plane
        .delete("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        .await;
    plane
        .until("the authority again", async || {
            plane
                .get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
                .await
                .is_some()
        })
        .await;

    let kind = "bootstrap.kubernetes.io/token";
    let fields = |id: &str| json!({"stringData": {"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"}});
    let mut over = fields("aaaaaa");
    over["stringData"]["expiration"] = now().into();
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    plane
        .create(secrets, secret("bootstrap-token-aaaaaa", kind, over))
        .await;
    plane
        .create(
            secrets,
            secret("bootstrap-token-bbbbbb", kind, fields("bbbbbb")),
        )
        .await;
    plane
        .until("the end of the one", async || {
            plane
                .get(&format!("{secrets}/bootstrap-token-aaaaaa"))
                .await
                .is_none()
        })
        .await;
    let info = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x"}});
    plane
        .create("/api/v1/namespaces/kube-public/configmaps", info)
        .await;
    let signature = "/data/jws-kubeconfig-bbbbbb";
    plane
        .until("a signature", async || {
            field(
                &plane,
                "/api/v1/namespaces/kube-public/configmaps/cluster-info",
                signature,
            )
            .await
            .is_string()
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_budgets_and_what_ends_by_itself() {
    let plane = plane().await;
    plane
        .create(
            "/api/v1/namespaces/default/services",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "by-hand"}, "spec": {"ports": [{"port": 80}]}}),
        )
        .await;
    let endpoints = "/api/v1/namespaces/default/endpoints";
    let subsets =
        |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 80, "protocol": "TCP"}]}]);
    plane.create(endpoints, json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}, "subsets": subsets("192.0.2.5")})).await;
    let mirrored = async || {
        plane.list("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dby-hand").await
    };
    plane
        .until("a mirror", async || mirrored().await.len() == 1)
        .await;
    plane
        .patch(
            &format!("{endpoints}/by-hand"),
            json!({"subsets": subsets("192.0.2.6")}),
        )
        .await;
    plane
        .until("a changed mirror", async || {
            mirrored().await[0]["endpoints"][0]["addresses"][0] == "192.0.2.6"
        })
        .await;
    plane.delete(&format!("{endpoints}/by-hand")).await;
    plane
        .until("no mirror", async || mirrored().await.is_empty())
        .await;

    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    plane
        .create(
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            budget,
        )
        .await;
    plane
        .until("a budget that was counted", async || {
            field(
                &plane,
                "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b",
                "/status/desiredHealthy",
            )
            .await
                == 1
        })
        .await;

    plane.node("one", json!({})).await;
    let mut template = template("work");
    template["spec"]["restartPolicy"] = "Never".into();
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": 0, "template": template}});
    plane
        .create("/apis/batch/v1/namespaces/default/jobs", job.clone())
        .await;
    let pods = async || {
        plane
            .list("/api/v1/namespaces/default/pods?labelSelector=job-name%3Dj")
            .await
    };
    plane
        .until("its pod", async || !pods().await.is_empty())
        .await;
    plane
        .is_in_phase(
            pods().await[0]["metadata"]["name"].as_str().unwrap(),
            "Succeeded",
        )
        .await;
    plane
        .until("the end of job and pod", async || {
            plane
                .get("/apis/batch/v1/namespaces/default/jobs/j")
                .await
                .is_none()
                && pods().await.is_empty()
        })
        .await;
    let spec =
        json!({"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": job["spec"]}});
    plane
        .create("/apis/batch/v1/namespaces/default/cronjobs", json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}))
        .await;
    plane
        .patch(
            "/apis/batch/v1/namespaces/default/cronjobs/c",
            json!({"spec": {"suspend": false}}),
        )
        .await;

    let volume = json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}, "name": "v"});
    plane
        .pod("holds", json!({"spec": {"volumes": [volume]}}))
        .await;
    plane
        .until("the pod's claim", async || {
            plane
                .get("/api/v1/namespaces/default/persistentvolumeclaims/holds-v")
                .await
                .is_some()
        })
        .await;
    plane.delete("/api/v1/namespaces/default/pods/holds").await;
    plane
        .until("the claim's end", async || {
            plane
                .get("/api/v1/namespaces/default/persistentvolumeclaims/holds-v")
                .await
                .is_none()
        })
        .await;
    plane.end().await;
}

/// Whatever name somebody writes where a controller takes it from, it leads to no other path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_lead_nowhere_else() {
    let plane = plane().await;
    plane
        .create(
            "/apis/apps/v1/namespaces/default/deployments",
            deployment("web", 1),
        )
        .await;
    for (number, name) in [
        "..",
        "default/token",
        "../../../nodes",
        "default?watch=1",
        "%2e%2e",
        "a b",
        ".",
    ]
    .into_iter()
    .enumerate()
    {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s{number}"), "annotations": {"kubernetes.io/service-account.name": name}},
            "type": "kubernetes.io/service-account-token"});
        plane
            .create("/api/v1/namespaces/default/secrets", secret)
            .await;
        let path = format!("/api/v1/namespaces/default/secrets/s{number}");
        plane
            .until("the end of a secret of nobody's", async || {
                plane.get(&path).await.is_none()
            })
            .await;
        let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        let auto = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": format!("auto{number}")}, "spec": {"maxReplicas": 2, "scaleTargetRef": reference}});
        // what validation refuses, does no harm
        if plane
            .api
            .post(
                "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
                &auto,
            )
            .await
            .is_ok()
        {
            plane
                .event(&format!("auto{number}"), "FailedGetScale")
                .await;
        }
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{number}")}});
        map["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "1-2-3"}]);
        plane
            .create("/api/v1/namespaces/default/configmaps", map)
            .await;
        let path = format!("/api/v1/namespaces/default/configmaps/m{number}");
        plane
            .until("the end of what an absent one owned", async || {
                plane.get(&path).await.is_none()
            })
            .await;
    }
    plane.end().await;
}
