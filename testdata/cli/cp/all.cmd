!kubectl apply -f deploy.yaml -f pod.yaml
kubectl cp web
kubectl cp nosuch-file web:/tmp
kubectl cp web:/a nosuch:/b
