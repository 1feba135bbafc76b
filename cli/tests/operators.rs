//! Operators of others' making against a running cluster: one with kube's runtime, one in Python with kopf. Each brings a kind to life: objects that it
//! owns, a status, a finalizer; each outlives a restart of the server, and what it made goes with what it was made for.

use std::{
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller,
        controller::Action,
        finalizer::{Event, finalizer},
        watcher,
    },
};
use serde_json::{Value, json};

use crate::support::{Cluster, on_path, skip};

const LIMIT: Duration = Duration::from_secs(60);

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"},
        "spec": {
            "group": "sea.example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "shortNames": ["bt"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}],
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["oars"],
                        "x-kubernetes-validations": [{"rule": "self.oars % 2 == 0", "message": "oars come in pairs"}],
                        "properties": {"oars": {"type": "integer", "minimum": 2}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}
            }]
        }
    })
}

fn boat(name: &str, oars: i64) -> String {
    json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": name}, "spec": {"oars": oars}})
        .to_string()
}

fn boats_of(client: &Client) -> (Api<DynamicObject>, ApiResource) {
    let resource = ApiResource {
        group: "sea.example.com".into(),
        version: "v1".into(),
        api_version: "sea.example.com/v1".into(),
        kind: "Boat".into(),
        plural: "boats".into(),
    };
    (
        Api::default_namespaced_with(client.clone(), &resource),
        resource,
    )
}

/// A cluster whose definition is established.
fn cluster() -> Cluster {
    let cluster = Cluster::start(&["--simulate=1"]);
    cluster.apply(&definition().to_string());
    cluster.skiff(&[
        "wait",
        "--for=condition=Established",
        "crd/boats.sea.example.com",
        "--timeout=10s",
    ]);
    cluster
}

/// What any operator of boats is to do, whatever it is written with.
fn serves(cluster: &mut Cluster, status: &str) {
    let refused = cluster.output(
        crate::support::PROGRAM,
        &["create", "-f", &file(cluster, &boat("odd", 3))],
    );
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("oars come in pairs"), "{told}");

    cluster.apply(&boat("one", 4));
    cluster.until(
        LIMIT,
        "4",
        &["get", "cm", "one-log", "-o", "jsonpath={.data.oars}"],
    );
    cluster.until(LIMIT, "Afloat", &["get", "boat", "one", "-o", status]);
    assert!(cluster.skiff(&["get", "boats"]).contains("PHASE"));

    // the server is killed and comes again where it was; the operator goes on
    let address = cluster.skiff(&[
        "config",
        "view",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ]);
    let listen = format!("--listen={}", address.trim().trim_start_matches("https://"));
    cluster.kill();
    cluster.up(&["--simulate=1", &listen]);
    cluster.apply(&boat("one", 6));
    cluster.until(
        LIMIT,
        "6",
        &["get", "cm", "one-log", "-o", "jsonpath={.data.oars}"],
    );

    cluster.skiff(&["delete", "boat", "one", "--timeout=60s"]);
    cluster.until(LIMIT, "one-gone", &["get", "cm", "-o", "name"]);
    // what it owned is collected
    let deadline = std::time::Instant::now() + LIMIT;
    while cluster
        .skiff(&["get", "cm", "-o", "name"])
        .contains("one-log")
    {
        assert!(
            std::time::Instant::now() < deadline,
            "what the boat owned is still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.skiff(&["delete", "crd", "boats.sea.example.com", "--timeout=60s"]);
}

fn file(cluster: &Cluster, manifest: &str) -> String {
    let path = cluster.folder.join("manifest.json");
    std::fs::write(&path, manifest).unwrap();
    path.to_str().unwrap().into()
}

struct Operator {
    client: Client,
    boats: Api<DynamicObject>,
}

impl Operator {
    /// One round of a boat: its log is as it says, and its status tells that it floats.
    async fn afloat(&self, boat: &DynamicObject) -> Result<Action, kube::Error> {
        let name = boat.name_any();
        let (_, resource) = boats_of(&self.client);
        let owner = json!({"apiVersion": resource.api_version, "kind": resource.kind, "name": name, "uid": boat.uid(), "controller": true});
        let log = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-log"), "ownerReferences": [owner]},
            "data": {"oars": boat.data["spec"]["oars"].to_string()}});
        let maps: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        let params = PatchParams::apply("boats").force();
        maps.patch(&format!("{name}-log"), &params, &Patch::Apply(log))
            .await?;
        let status = json!({"status": {"phase": "Afloat", "seen": boat.data["spec"]["oars"]}});
        let params = PatchParams::default();
        self.boats
            .patch_status(&name, &params, &Patch::Merge(status))
            .await?;
        Ok(Action::await_change())
    }

    async fn gone(&self, boat: &DynamicObject) -> Result<Action, kube::Error> {
        let maps: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        let note = serde_json::from_value(
            json!({"metadata": {"name": format!("{}-gone", boat.name_any())}}),
        );
        let note: ConfigMap = note.map_err(kube::Error::SerdeError)?;
        match maps.create(&PostParams::default(), &note).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Ok(Action::await_change())
            }
            made => made.map(|_| Action::await_change()),
        }
    }
}

/// Of several that want to, one leads: whoever makes the lease.
async fn leads(client: &Client) {
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let lease = |holder: &str| -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "boats"}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}})).unwrap()
    };
    leases
        .create(&PostParams::default(), &lease("one"))
        .await
        .unwrap();
    let second = leases.create(&PostParams::default(), &lease("two")).await;
    assert!(matches!(second, Err(kube::Error::Api(status)) if status.is_already_exists()));
}

async fn operate(client: Client) {
    let (boats, resource) = boats_of(&client);
    let operator = Arc::new(Operator {
        client,
        boats: boats.clone(),
    });
    let reconcile = |boat: Arc<DynamicObject>, operator: Arc<Operator>| async move {
        let work = |event| {
            let operator = operator.clone();
            async move {
                match event {
                    Event::Apply(boat) => operator.afloat(&boat).await,
                    Event::Cleanup(boat) => operator.gone(&boat).await,
                }
            }
        };
        finalizer(&operator.boats, "sea.example.com/boats", boat, work).await
    };
    Controller::new_with(boats, watcher::Config::default(), resource)
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(200)),
            operator,
        )
        .for_each(|_| async {})
        .await;
}

#[test]
fn one_with_the_runtime_of_kube() {
    let mut cluster = cluster();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        // another test of this program may have been first
        drop(rustls::crypto::ring::default_provider().install_default());
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        leads(&client).await;
        client
    });
    let running = runtime.spawn(operate(client));
    serves(&mut cluster, "jsonpath={.status.phase}");
    running.abort();
    cluster.end();
}

/// Ended, whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn one_with_kopf() {
    let python = on_path("python3").filter(|python| {
        let imported = std::process::Command::new(python)
            .args(["-c", "import kopf, kubernetes"])
            .output();
        imported.is_ok_and(|output| output.status.success())
    });
    let Some(python) = python else {
        return skip("python3 has no module kopf (pip install kopf kubernetes)");
    };
    let mut cluster = cluster();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/operator_kopf.py"
    );
    let log = std::fs::File::create(cluster.folder.join("kopf.log")).unwrap();
    let child = cluster
        .command(
            python,
            &[
                "-m",
                "kopf",
                "run",
                "--standalone",
                "--namespace=default",
                script,
            ],
        )
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running(child);
    serves(&mut cluster, "jsonpath={.status.phase}");
    drop(running);
    cluster.end();
}
