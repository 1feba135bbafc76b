!kubectl apply -f deploy2.yaml
!kubectl create -f cm.json
kubectl apply view-last-applied deploy/shop
kubectl apply view-last-applied deploy/shop -o json
kubectl apply set-last-applied -f deploy.yaml
kubectl apply set-last-applied -f cm.json --dry-run=server
kubectl apply edit-last-applied deploy/shop
