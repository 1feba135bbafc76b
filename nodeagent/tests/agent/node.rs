//! A node as a whole: how it registers, what it is called, and how its agent takes up what runs.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_node_registers_and_beats() {
    let node = Node::start();
    let object = eventually("node", || node.api.get("/api/v1/nodes/node")).await;
    let conditions: Vec<_> = object["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{}={}",
                c["type"].as_str().unwrap(),
                c["status"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        conditions,
        [
            "MemoryPressure=False",
            "DiskPressure=False",
            "PIDPressure=False",
            "Ready=True"
        ]
    );
    assert_eq!(
        object["metadata"]["labels"]["kubernetes.io/hostname"],
        "node"
    );
    assert_eq!(
        object["status"]["nodeInfo"]["containerRuntimeVersion"],
        "fake://1"
    );
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node";
    let first = eventually("lease", || node.api.get(lease)).await;
    eventually("renewal", || {
        node.api
            .get(lease)
            .filter(|now| now["spec"]["renewTime"] != first["spec"]["renewTime"])
    })
    .await;
    node.end().await;
}

/// Pods in the node's network bear its name where it is not the machine's only node.
#[tokio::test(flavor = "multi_thread")]
async fn pods_in_the_nodes_network_are_called_as_it_is() {
    let machine = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for (own, wanted) in [(None, machine), (Some("one-of-many"), "one-of-many".into())] {
        let node = Node::start_with(|config| config.hostname = own.map(str::to_owned));
        let mut spec = container(json!(["run"]));
        spec["hostNetwork"] = true.into();
        node.api.create_pod("node", "p", spec);
        node.pod("p", "ready", ready).await;
        let called = node.runtime.sandbox().spec.hostname.clone();
        assert_eq!(called, wanted);
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_node_stays_away_until_its_agent_starts_anew() {
    let mut node = Node::start();
    let (object, lease) = (
        "/api/v1/nodes/node",
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node",
    );
    let owner = eventually("lease", || node.api.get(lease)).await;
    let uid = node.api.get(object).unwrap()["metadata"]["uid"].clone();
    assert_eq!(owner["metadata"]["ownerReferences"][0]["uid"], uid);
    let refused = |path: &str| {
        let refusals = node.api.refusals.lock();
        refusals.iter().filter(|refused| *refused == path).count()
    };
    node.api.remove(object);
    node.api.remove(lease);
    // It tries to go on, more than once, and in vain.
    eventually("refusals", || {
        (refused("/api/v1/nodes/node/status") >= 2 && refused(lease) >= 2).then_some(())
    })
    .await;
    assert_eq!((node.api.get(object), node.api.get(lease)), (None, None));
    node.stop.cancel();
    (&mut node.task).await.unwrap();
    node.stop = CancellationToken::new();
    let runtime = node.runtime.clone();
    node.task = agent(&node.api, runtime, node.dir.path(), &node.stop, |_| {});
    eventually("the node again", || node.api.get(object)).await;
    eventually("its lease", || node.api.get(lease)).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_takes_up_what_runs_and_ends_what_is_gone() {
    let (api, runtime, dir) = (api(), FakeRuntime::new(), tempfile::tempdir().unwrap());
    let first = CancellationToken::new();
    let task = agent(&api, runtime.clone(), dir.path(), &first, |_| {});
    api.create_pod("node", "stays", container(json!(["run"])));
    api.create_pod("node", "goes", container(json!(["run"])));
    eventually("both ready", || {
        (ready(&api.pod("stays")?) && ready(&api.pod("goes")?)).then_some(())
    })
    .await;
    let id = api.pod("stays").unwrap()["status"]["containerStatuses"][0]["containerID"].clone();
    first.cancel();
    task.await.unwrap();
    assert_eq!(runtime.running().len(), 2, "containers outlive the agent");
    api.remove(&support::pod_path("goes"));
    let second = CancellationToken::new();
    let task = agent(&api, runtime.clone(), dir.path(), &second, |_| {});
    eventually("the orphan ended", || {
        (runtime.sandboxes.lock().len() == 1).then_some(())
    })
    .await;
    assert_eq!(runtime.running().len(), 1);
    let pod = api.pod("stays").unwrap();
    assert!(ready(&pod));
    assert_eq!(pod["status"]["containerStatuses"][0]["containerID"], id);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    second.cancel();
    task.await.unwrap();
}
