!kubectl apply -f deploy.yaml -f pod.yaml
kubectl exec web
kubectl exec nosuch -- ls
kubectl exec web -c nosuch -- ls
