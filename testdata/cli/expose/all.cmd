!kubectl apply -f deploy.yaml -f pod.yaml
kubectl expose deploy shop --port=80 --target-port=8080 --dry-run=client -o yaml
kubectl expose deploy shop --port=80 --name=door --cluster-ip=10.96.50.50
kubectl expose deploy shop --port=80 --name=door
kubectl expose pod web --port=80 --name=webdoor --type=NodePort --dry-run=client -o yaml
kubectl expose pod web --name=noport --dry-run=client -o yaml
kubectl expose deploy nosuch --port=80
kubectl expose cm x --port=80
