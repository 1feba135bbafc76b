!kubectl apply -f deploy.yaml -f pod.yaml
kubectl attach nosuch
