kubectl create -f cm.json
kubectl create -f dir/a.yaml
kubectl create -f many.yaml --dry-run=server
kubectl create -f typo.yaml
kubectl create -f invalid.yaml
kubectl create -f deploy.yaml --save-config --dry-run=client -o name
kubectl create --raw /api/v1/namespaces/$CASE/configmaps -f cm.json 2>&1 | head -c 60
