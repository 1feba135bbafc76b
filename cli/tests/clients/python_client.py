"""What a script with the Python client does over every verb, with exec, logs and sub-resources. KUBECONFIG names the cluster."""

import json
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()
apps = client.AppsV1Api()

NS = "default"


def refused(status, reason, call, *args, **more):
    """The call is refused so."""
    try:
        call(*args, **more)
    except client.ApiException as error:
        said = json.loads(error.body)
        assert (error.status, said["reason"]) == (status, reason), error
        return
    raise AssertionError(f"{call.__name__} was not refused")


def a_map(name, data=None, **meta):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **meta), data=data)


def verbs():
    """Every verb on one kind, and what watchers see of it."""
    created = core.create_namespaced_config_map(NS, a_map("python-0", {"a": "1"}, labels={"by": "python", "tier": "one"}))
    assert created.metadata.uid and created.metadata.creation_timestamp.tzinfo
    refused(409, "AlreadyExists", core.create_namespaced_config_map, NS, a_map("python-0"))
    refused(422, "Invalid", core.create_namespaced_config_map, NS, a_map("PYTHON"))
    refused(404, "NotFound", core.read_namespaced_config_map, "python-none", NS)
    core.create_namespaced_config_map(NS, a_map("python-dry"), dry_run="All")
    refused(404, "NotFound", core.read_namespaced_config_map, "python-dry", NS)
    for at in range(1, 5):
        core.create_namespaced_config_map(NS, a_map(f"python-{at}", labels={"by": "python"}))

    # lists, in pages and by selectors
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(NS, label_selector="by in (python)", limit=2, _continue=token)
        assert len(page.items) <= 2
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
        assert page.metadata.remaining_item_count is None, "it is not told with a selector"
    assert names == [f"python-{at}" for at in range(5)], names
    one = core.list_namespaced_config_map(NS, label_selector="by=python,!tier", field_selector="metadata.name=python-3")
    assert [item.metadata.name for item in one.items] == ["python-3"]
    everywhere = core.list_config_map_for_all_namespaces(field_selector="metadata.name=kube-root-ca.crt")
    assert len(everywhere.items) >= 4

    # whole, and in each way of patching
    read = core.read_namespaced_config_map("python-0", NS)
    read.data = {"a": "2", "b": "2"}
    assert core.replace_namespaced_config_map("python-0", NS, read).data == {"a": "2", "b": "2"}
    refused(409, "Conflict", core.replace_namespaced_config_map, "python-0", NS, read)

    def patch(body, kind, **more):
        return core.patch_namespaced_config_map("python-0", NS, body, _content_type=f"application/{kind}", **more)

    assert patch([{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/b"}], "json-patch+json").data == {"a": "2"}
    refused(422, "Invalid", patch, {"nosuch": 1}, "merge-patch+json", field_validation="Strict")
    refused(422, "Invalid", patch, [{"op": "test", "path": "/data/a", "value": "9"}], "json-patch+json")
    assert patch({"data": {"a": None, "c": "3"}}, "merge-patch+json").data == {"c": "3"}
    assert patch({"metadata": {"finalizers": ["example.com/python"]}}, "strategic-merge-patch+json").metadata.finalizers == ["example.com/python"]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/python"]}}
    assert not patch(gone, "strategic-merge-patch+json").metadata.finalizers
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "python-0"}, "data": {"d": "4"}}
    assert patch(applied, "apply-patch+yaml", field_manager="python").data == {"c": "3", "d": "4"}
    other = {**applied, "data": {"d": "5"}}
    refused(409, "Conflict", patch, other, "apply-patch+yaml", field_manager="other")
    assert patch(other, "apply-patch+yaml", field_manager="other", force=True, dry_run="All").data["d"] == "5"

    # by a client that knows no kinds
    generic = dynamic.DynamicClient(core.api_client).resources.get(api_version="v1", kind="ConfigMap")
    assert generic.get(name="python-0", namespace=NS).data["d"] == "4"

    core.delete_namespaced_config_map("python-4", NS)
    refused(404, "NotFound", core.delete_namespaced_config_map, "python-4", NS)
    core.delete_collection_namespaced_config_map(NS, label_selector="by=python,tier=one")
    assert len(core.list_namespaced_config_map(NS, label_selector="by=python").items) == 3
    core.delete_collection_namespaced_config_map(NS, label_selector="by=python")
    told, left = [], {f"python-{at}" for at in range(5)}
    since = created.metadata.resource_version
    for event in watch.Watch().stream(core.list_namespaced_config_map, NS, label_selector="by=python", resource_version=since, timeout_seconds=20):
        name = event["object"].metadata.name
        told += [event["type"]] if name == "python-0" else []
        left -= {name} if event["type"] == "DELETED" else set()
        if not left:
            break
    assert not left, left
    assert told == ["MODIFIED"] * 6 + ["DELETED"], told


def subresources():
    """What a pod and its owner have besides themselves."""
    scale = apps.read_namespaced_deployment_scale("python", NS)
    scale.spec.replicas = 1
    assert apps.replace_namespaced_deployment_scale("python", NS, scale).spec.replicas == 1
    assert apps.patch_namespaced_deployment_scale("python", NS, {"spec": {"replicas": 2}}).spec.replicas == 2
    condition = {"type": "Told", "status": "True", "reason": "Python", "message": "by a client"}
    body = {"status": {"conditions": [condition]}}
    status = apps.patch_namespaced_deployment_status("python", NS, body, _content_type="application/strategic-merge-patch+json").status
    assert {"Told", "Available"} <= {found.type for found in status.conditions}
    token = core.create_namespaced_service_account_token("default", NS, {"spec": {"expirationSeconds": 3600}})
    review = client.AuthenticationV1Api().create_token_review({"spec": {"token": token.status.token}})
    assert review.status.user.username == "system:serviceaccount:default:default", review.status
    may = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": NS}}}
    assert client.AuthorizationV1Api().create_self_subject_access_review(may).status.allowed
    pod = core.list_namespaced_pod(NS, label_selector="app=python").items[0].metadata.name
    core.create_namespaced_pod_eviction(pod, NS, {"metadata": {"name": pod}})
    deadline = time.monotonic() + 60
    while pod in [item.metadata.name for item in core.list_namespaced_pod(NS, label_selector="app=python").items]:
        assert time.monotonic() < deadline, "the evicted pod is there"
        time.sleep(0.05)


assert client.VersionApi().get_code().major == "1"
verbs()

said = stream(core.connect_get_namespaced_pod_exec, "busybox", "default", command=["sh", "-c", "echo from python"], stdout=True, stderr=True, stdin=False, tty=False)
assert said == "from python\n", said
answer = stream(core.connect_get_namespaced_pod_exec, "busybox", "default", command=["sh", "-c", "exit 7"], stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False)
answer.run_forever(timeout=10)
assert answer.returncode == 7, answer.returncode

labels = {"app": "python"}
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels),
    spec=client.V1PodSpec(
        termination_grace_period_seconds=1,
        containers=[client.V1Container(name="main", image="test.local/busybox:1", command=["sh", "-c", "echo hello from $HOSTNAME; sleep 1000"])],
    ),
)
deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="python"), spec=client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)
)
apps.create_namespaced_deployment("default", deployment)
for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", field_selector="metadata.name=python", timeout_seconds=60):
    if event["object"].status.ready_replicas == 2:
        break
else:
    raise AssertionError("the deployment is not ready")
pod = core.list_namespaced_pod("default", label_selector="app=python").items[0]
deadline = time.monotonic() + 20
while "hello from " + pod.metadata.name not in core.read_namespaced_pod_log(pod.metadata.name, "default"):
    assert time.monotonic() < deadline, "the container said nothing"
    time.sleep(0.05)
subresources()
apps.delete_namespaced_deployment("python", "default", propagation_policy="Foreground")
print("all as expected")
