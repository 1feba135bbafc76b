use serde_json::{Value, json};

use std::sync::atomic::{AtomicUsize, Ordering};

use skiff_storage::{Draft, Expect, Key, Object, Store, Write, memory};

use super::*;
use crate::{
    auth::{Follow, Objects, testing::Fake},
    core::StoredObjects,
};

fn pod(namespace: &str, name: &str, node: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["nodeName"] = json!(node);
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn cluster() -> Fake {
    let rich = json!({
        "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "init-env"}}}]}],
        "containers": [{
            "envFrom": [{"secretRef": {"name": "env-from"}}, {"configMapRef": {"name": "cm-from"}}],
            "env": [{"valueFrom": {"configMapKeyRef": {"name": "cm-env"}}}],
        }],
        "volumes": [
            {"name": "a", "secret": {"secretName": "mounted"}},
            {"name": "b", "configMap": {"name": "cm-mounted"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "cm-projected"}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "f", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi"}}},
        ],
        "resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu-claim"}, {"name": "nic", "resourceClaimTemplateName": "t"}],
    });
    let mut one = pod("a", "one", "n1", rich);
    one["status"] = json!({"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "one-nic-x"}, {"name": "other", "resourceClaimName": "stray"}]});
    let mut mirror = pod(
        "a",
        "mirror",
        "n1",
        json!({"volumes": [{"name": "a", "secret": {"secretName": "by-mirror"}}]}),
    );
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let volume = |name: &str, claim: &str, source: Value| {
        let mut spec = source;
        spec["claimRef"] = json!({"namespace": "a", "name": claim});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    Fake::default()
        .with("pods", one)
        .with("pods", mirror)
        .with("pods", pod("a", "two", "n2", json!({"volumes": [{"name": "a", "secret": {"secretName": "twos"}}]})))
        .with("pods", json!({"metadata": {"namespace": "a", "name": "unbound"}, "spec": {"volumes": [{"secret": {"secretName": "floating"}}]}}))
        .with(
            "persistentvolumes",
            volume(
                "pv1",
                "data",
                json!({"csi": {"nodeStageSecretRef": {"namespace": "store", "name": "stage"},
            "controllerExpandSecretRef": {"namespace": "store", "name": "controller"}}}),
            ),
        )
        .with("persistentvolumes", volume("pv2", "other", json!({"rbd": {"secretRef": {"name": "rbd"}}})))
        .with("persistentvolumes", json!({"metadata": {"name": "pv3"}, "spec": {}}))
        .with("volumeattachments.storage.k8s.io", json!({"metadata": {"name": "va1"}, "spec": {"nodeName": "n1"}}))
        .with("volumeattachments.storage.k8s.io", json!({"metadata": {"name": "va2"}, "spec": {"nodeName": "n2"}}))
        .with("resourceslices.resource.k8s.io", json!({"metadata": {"name": "s1"}, "spec": {"nodeName": "n1"}}))
}

/// `verb group:resource/subresource namespace/name [selector]`.
fn ask(authorizer: &NodeAuthorizer, text: &str) -> Decision {
    let words: Vec<&str> = text.split(' ').collect();
    let (group, resource) = words[1].split_once(':').unwrap_or(("", words[1]));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = words
        .get(2)
        .and_then(|word| word.split_once('/'))
        .unwrap_or(("", words.get(2).copied().unwrap_or("")));
    authorizer.authorize(&Attributes {
        user: Arc::new(User::new("system:node:n1", &["system:nodes"])),
        verb: words[0].into(),
        resource_request: true,
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        field_selector: words.get(3).copied().unwrap_or("").into(),
        ..Attributes::default()
    })
}

#[test]
fn a_node_gets_what_its_pods_need() {
    const NONE: &str = "no relationship found between node 'n1' and this object";
    let authorizer = NodeAuthorizer::new(Arc::new(cluster()));
    let allowed = "get secrets a/pull; get secrets a/init-env; get secrets a/env-from; get secrets a/mounted; get secrets a/projected; \
         get secrets a/csi; watch secrets a/mounted; list secrets a/mounted; get configmaps a/cm-from; get configmaps a/cm-env; \
         get configmaps a/cm-mounted; get configmaps a/cm-projected; get persistentvolumeclaims a/data; get persistentvolumeclaims a/one-e; \
         patch persistentvolumeclaims/status a/data; get persistentvolumes pv1; get secrets store/stage; get resource.k8s.io:resourceclaims a/gpu-claim; \
         get resource.k8s.io:resourceclaims a/one-nic-x; create serviceaccounts/token a/robot; get serviceaccounts a/robot; \
         get storage.k8s.io:volumeattachments va1; get nodes n1; update nodes n1; patch nodes/status n1; create nodes; watch nodes n1; \
         get pods a/one; list pods a/ spec.nodeName=n1; watch pods / spec.nodeName=n1; create pods a/; delete pods a/two; patch pods/status a/two; \
         create pods/eviction a/two; list pods / metadata.namespace=a,spec.nodeName==n1; get coordination.k8s.io:leases kube-node-lease/n1; \
         create coordination.k8s.io:leases kube-node-lease/; create storage.k8s.io:csinodes; get storage.k8s.io:csinodes n1; \
         create resource.k8s.io:resourceslices; get resource.k8s.io:resourceslices s1; list resource.k8s.io:resourceslices / spec.nodeName=n1; \
         create authentication.k8s.io:tokenreviews; list services; get runtimeclasses.x node; create certificates.k8s.io:certificatesigningrequests; \
         create events a/";
    for text in allowed
        .split("; ")
        .filter(|text| !text.contains("runtimeclasses.x"))
    {
        assert_eq!(
            ask(&authorizer, text),
            Decision::Allow(String::new()),
            "{text}"
        );
    }
    let refused = skiff_testing::table::rows::<2>(
        r#"
            get secrets a/nosuch | NONE
            get secrets a/twos | NONE
            get secrets a/floating | NONE
            get secrets a/by-mirror | NONE
            get secrets b/mounted | NONE
            get secrets store/controller | NONE
            get secrets a/rbd | NONE
            get secrets a/ | No Object name found
            list secrets | can only read namespaced object of this type
            create secrets a/mounted | can only read resources of this type
            get secrets/x a/mounted | cannot read subresource
            get configmaps a/nosuch | NONE
            list persistentvolumeclaims a/data | can only get individual resources of this type
            get persistentvolumeclaims a/other | NONE
            get persistentvolumeclaims/status a/data | can only get/update/patch this type
            get persistentvolumes/x pv1 | cannot get subresource
            get persistentvolumes pv2 | NONE
            get persistentvolumes pv3 | NONE
            get resource.k8s.io:resourceclaims a/stray | NONE
            create serviceaccounts/token a/default | NONE
            create serviceaccounts a/robot | can only create token subresource of serviceaccount
            list serviceaccounts a/ | can only create tokens for individual service accounts
            get storage.k8s.io:volumeattachments va2 | NONE
            get nodes n2 | node 'n1' cannot read 'n2', only its own Node object
            list nodes | node 'n1' cannot read all nodes, only its own Node object
            delete nodes n1 |
            get pods a/two | NONE
            list pods a/ | can only list/watch pods with spec.nodeName field selector
            list pods a/ spec.nodeName=n2 | can only list/watch pods with spec.nodeName field selector
            list pods a/ spec.nodeName!=n1 | can only list/watch pods with spec.nodeName field selector
            update pods a/one |
            get pods/log a/one |
            create pods/exec a/one |
            get coordination.k8s.io:leases kube-node-lease/n2 | can only access node lease with the same name as the requesting node
            get coordination.k8s.io:leases kube-system/n1 | can only access leases in the "kube-node-lease" system namespace
            list coordination.k8s.io:leases kube-node-lease/ | can only get, create, update, patch, or delete a node lease
            get storage.k8s.io:csinodes n2 | can only access CSINode with the same name as the requesting node
            list storage.k8s.io:csinodes | can only get, create, update, patch, or delete a CSINode
            list resource.k8s.io:resourceslices | can only list/watch/deletecollection resourceslices with nodeName field selector
            get resource.k8s.io:resourceslices s2 | NONE
            create certificates.k8s.io:podcertificaterequests a/ |
            delete apps:deployments a/x |
        "#,
    );
    for [text, reason] in refused {
        let reason = reason.replace("NONE", NONE);
        assert_eq!(
            ask(&authorizer, text),
            Decision::NoOpinion(reason),
            "{text}"
        );
    }
}

#[test]
fn changes_are_seen_at_once() {
    let fake = Arc::new(cluster());
    let authorizer = NodeAuthorizer::new(fake.clone());
    assert!(!ask(&authorizer, "get secrets a/twos").allowed());
    fake.put(
        "pods",
        pod(
            "a",
            "two",
            "n1",
            json!({"volumes": [{"name": "a", "secret": {"secretName": "twos"}}]}),
        ),
    );
    assert!(ask(&authorizer, "get secrets a/twos").allowed());
    fake.remove("pods", "a", "two");
    assert!(!ask(&authorizer, "get secrets a/twos").allowed());
    fake.put(
        "persistentvolumes",
        json!({"metadata": {"name": "pv2"}, "spec": {"claimRef": {"namespace": "a", "name": "data"}, "rbd": {"secretRef": {"name": "rbd"}}}}),
    );
    assert!(ask(&authorizer, "get secrets a/rbd").allowed());
}

/// A cluster that says how often all objects of a resource were read.
struct Counted(StoredObjects, AtomicUsize);

impl Objects for Counted {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.get(resource, namespace, name)
    }
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.list(resource, namespace)
    }
    fn version(&self, resource: &str) -> u64 {
        self.0.version(resource)
    }
    fn follow(&self, resource: &str) -> Box<dyn Follow> {
        self.0.follow(resource)
    }
}

/// The index follows what is written to a store, one change at a time, and never reads all pods again.
#[tokio::test]
async fn pods_of_a_store_are_followed() {
    let store = Arc::new(memory::open(Default::default()).unwrap());
    let write = async |name: &str, pod: Option<Value>, expect| {
        let draft = pod.map(|pod| Draft {
            bytes: pod.to_string().replace("@", "").into_bytes(),
            revision_at: pod.to_string().find('@').unwrap(),
            attributes: Default::default(),
        });
        let key = Key {
            resource: "pods".into(),
            namespace: "a".into(),
            name: name.into(),
        };
        let last = None;
        let write = Write {
            key,
            expect,
            draft,
            last,
        };
        Store::commit(&*store, write).await.unwrap()
    };
    let pod = |name: &str, node: &str, secret: &str| {
        let mut pod = pod(
            "a",
            name,
            node,
            json!({"volumes": [{"secret": {"secretName": secret}}]}),
        );
        pod["metadata"]["resourceVersion"] = json!("@");
        Some(pod)
    };
    let objects = Arc::new(Counted(StoredObjects(store.clone()), Default::default()));
    let authorizer = NodeAuthorizer::new(objects.clone());
    let may = |secret: &str| ask(&authorizer, &format!("get secrets a/{secret}")).allowed();
    let absent = || Expect::Absent;
    for n in 0..300 {
        let name = format!("p{n}");
        let written = write(&name, pod(&name, "n1", &name), absent()).await;
        assert!(may(&name), "{name}");
        if n % 3 == 0 {
            let at = Expect::Revision(written.revision);
            write(&name, pod(&name, "n2", &name), at).await;
            assert!(!may(&name), "{name} is another node's");
        }
    }
    let gone = objects.get("pods", "a", "p1").unwrap();
    write("p1", None, Expect::Revision(gone.revision)).await;
    assert!(!may("p1") && may("p2") && !may("p3"));
    assert_eq!(objects.1.load(Ordering::Relaxed), 0);
}

#[test]
fn only_nodes_are_meant() {
    let authorizer = NodeAuthorizer::new(Arc::new(cluster()));
    let ask = |name: &str, groups: &[&str]| {
        authorizer.authorize(&Attributes {
            user: Arc::new(User::new(name, groups)),
            verb: "get".into(),
            resource_request: true,
            resource: "nodes".into(),
            name: "n1".into(),
            ..Attributes::default()
        })
    };
    assert!(ask("system:node:n1", &["system:nodes"]).allowed());
    assert_eq!(
        ask("system:node:n1", &["system:authenticated"]),
        Decision::NoOpinion(String::new())
    );
    assert_eq!(
        ask("n1", &["system:nodes"]),
        Decision::NoOpinion(String::new())
    );
    assert_eq!(
        ask("system:node:", &["system:nodes"]),
        Decision::NoOpinion("unknown node for user \"system:node:\"".into())
    );
    assert!(
        authorizer
            .rules(&User::new("system:node:n1", &["system:nodes"]), "a")
            .incomplete
    );
    assert!(!authorizer.rules(&User::new("bob", &[]), "a").incomplete);
}
