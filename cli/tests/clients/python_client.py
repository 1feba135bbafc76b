"""What a script with the Python client does: create, list, watch, patch, delete, exec, logs. KUBECONFIG names the cluster."""

import time

from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()
apps = client.AppsV1Api()

assert client.VersionApi().get_code().major == "1"
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="python", labels={"by": "python"}), data={"a": "1"})
created = core.create_namespaced_config_map("default", body)
assert created.metadata.uid
found = core.list_namespaced_config_map("default", label_selector="by=python")
assert [item.metadata.name for item in found.items] == ["python"]

patched = core.patch_namespaced_config_map("python", "default", {"data": {"a": "2"}})
assert patched.data == {"a": "2"}
core.delete_namespaced_config_map("python", "default")
kinds = []
for event in watch.Watch().stream(
    core.list_namespaced_config_map, "default", label_selector="by=python", resource_version=created.metadata.resource_version, timeout_seconds=20
):
    kinds.append(event["type"])
    if event["type"] == "DELETED":
        break
assert kinds == ["MODIFIED", "DELETED"], kinds
try:
    core.read_namespaced_config_map("python", "default")
    raise AssertionError("it is still there")
except client.ApiException as error:
    assert error.status == 404, error

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
apps.delete_namespaced_deployment("python", "default", propagation_policy="Foreground")
print("all as expected")
