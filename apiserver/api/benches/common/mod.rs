//! A pod, and what something costs on this thread. Times are those that the thread spent on a processor, so that a busy machine does not blur them.
//! Linux only.

use serde_json::{Value, json};

pub fn pod() -> Value {
    json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d8f7c9b6d-abcde","namespace":"default","generateName":"web-5d8f7c9b6d-","labels":{"app":"web","pod-template-hash":"5d8f7c9b6d","tier":"front"},"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"8080"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d8f7c9b6d","uid":"7a3b0b0e-0000-4000-8000-000000000000","controller":true,"blockOwnerDeletion":true}]},
      "spec":{"containers":[{"name":"web","image":"nginx:1.27","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"},{"containerPort":8443,"name":"https","protocol":"TCP"}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"},{"name":"POD","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"livenessProbe":{"httpGet":{"path":"/healthz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"readinessProbe":{"httpGet":{"path":"/readyz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"cfg","mountPath":"/etc/cfg","readOnly":true}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false}}],
      "volumes":[{"name":"data","emptyDir":{}},{"name":"cfg","configMap":{"name":"web-cfg","defaultMode":420}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"web","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Pending","qosClass":"Burstable"}})
}

/// Nanoseconds that this thread has spent on a processor.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}

pub fn measure(name: &str, mut once: impl FnMut()) {
    const TIMES: u64 = 20_000;
    (0..TIMES / 10).for_each(|_| once());
    let before = spent();
    (0..TIMES).for_each(|_| once());
    println!("{name:<28} {:>8} ns", (spent() - before) / TIMES);
}
