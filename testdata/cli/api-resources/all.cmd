kubectl api-resources | head -70
kubectl api-resources --namespaced=false
kubectl api-resources --api-group=apps
kubectl api-resources -o name | sort
kubectl api-resources -o wide | head -12
kubectl api-resources --verbs=create,watch --api-group=batch
kubectl api-resources --sort-by=kind | head -8
kubectl api-resources --no-headers --api-group=networking.k8s.io
kubectl api-resources --categories=all
kubectl api-resources --api-group=nosuch
kubectl api-resources nosuch
