!kubectl apply -f deploy.yaml -f pod.yaml
kubectl scale deploy shop --replicas=4
kubectl scale deploy/shop --replicas=4 --current-replicas=9
kubectl scale deploy/shop --replicas=6 --current-replicas=4
kubectl scale deploy shop
kubectl scale deploy nosuch --replicas=1
kubectl scale pod web --replicas=2
kubectl scale --replicas=2 -f deploy.yaml
kubectl scale deploy --all --replicas=1
kubectl scale deploy shop --replicas=-1
kubectl scale deploy shop --replicas=2 --dry-run=server
