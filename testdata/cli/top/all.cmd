!kubectl apply -f deploy.yaml -f pod.yaml
kubectl top pods
kubectl top nodes
