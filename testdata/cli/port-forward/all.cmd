!kubectl apply -f deploy.yaml -f pod.yaml
kubectl port-forward nosuch 80
kubectl port-forward web
kubectl port-forward svc/nosuch 80:80
