"""An operator written with kopf: for each Boat a ConfigMap of its own, what it did in the status, a finalizer for the end. KUBECONFIG names the cluster."""

import kopf
import kubernetes


@kopf.on.login()
def login(**kwargs):
    return kopf.login_with_kubeconfig(**kwargs)


@kopf.on.create("sea.example.com", "v1", "boats")
def made(spec, name, namespace, patch, **_):
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-log"},
        "data": {"oars": str(spec["oars"])},
    }
    kopf.adopt(manifest)
    kubernetes.config.load_kube_config()
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, manifest)
    patch.status["phase"] = "Afloat"


@kopf.on.update("sea.example.com", "v1", "boats", field="spec.oars")
def changed(new, name, namespace, patch, **_):
    kubernetes.config.load_kube_config()
    kubernetes.client.CoreV1Api().patch_namespaced_config_map(f"{name}-log", namespace, {"data": {"oars": str(new)}})
    patch.status["seen"] = new


@kopf.on.delete("sea.example.com", "v1", "boats")
def gone(name, namespace, **_):
    body = kubernetes.client.V1ConfigMap(metadata=kubernetes.client.V1ObjectMeta(name=f"{name}-gone"))
    kubernetes.config.load_kube_config()
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, body)
