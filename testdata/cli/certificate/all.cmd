!kubectl apply -f deploy.yaml -f pod.yaml
kubectl certificate approve nosuch
kubectl certificate deny
