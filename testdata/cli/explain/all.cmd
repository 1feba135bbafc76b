kubectl explain pods
kubectl explain pod.spec.containers
kubectl explain pod.spec.containers.livenessProbe.httpGet.port
kubectl explain deployment.spec.strategy
kubectl explain deployments --recursive | head -60
kubectl explain svc.spec.ports
kubectl explain ingress.spec.rules.http.paths
kubectl explain hpa.spec --api-version=autoscaling/v1
kubectl explain hpa.spec.metrics.resource
kubectl explain cronjob.spec.schedule
kubectl explain crd.spec.versions.schema | head -20
kubectl explain node.status.conditions
kubectl explain configmap.data
kubectl explain secret.type
kubectl explain pv.spec.claimRef
kubectl explain role.rules
kubectl explain pod.spec.nosuch
kubectl explain nosuch
kubectl explain
kubectl explain pod spec
kubectl explain pods --output=plaintext-openapiv2 | head -5
kubectl explain pods --api-version=nosuch/v1
kubectl explain pod.metadata.labels
kubectl explain pod.spec.affinity --recursive
