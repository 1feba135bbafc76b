!kubectl apply -f deploy.yaml
kubectl apply --server-side -f deploy.yaml
kubectl apply --server-side -f deploy.yaml --force-conflicts
kubectl apply --server-side --field-manager=other -f deploy2.yaml
kubectl apply --server-side --field-manager=other --force-conflicts -f deploy2.yaml
kubectl apply --server-side -f cm.json --dry-run=client
