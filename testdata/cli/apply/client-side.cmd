kubectl apply -f deploy.yaml
kubectl apply -f deploy.yaml
kubectl apply -f deploy2.yaml
kubectl apply -f deploy2.yaml -o name
kubectl apply -f many.yaml
kubectl apply -f many.yaml --dry-run=client
kubectl apply -f many.yaml --dry-run=server
kubectl apply -f dir
kubectl apply -f dir -R --dry-run=client
kubectl apply -f cm.json
cat cm.json | kubectl apply -f -
kubectl apply -f typo.yaml
kubectl apply -f indent.yaml
kubectl apply -f nokind.yaml
kubectl apply -f noversion.yaml
kubectl apply -f broken.yaml
kubectl apply -f empty.yaml
kubectl apply -f invalid.yaml
kubectl apply -f nosuch.yaml
kubectl apply -f typo.yaml --validate=warn
kubectl apply -f typo.yaml --validate=false
kubectl apply -f typo.yaml --validate=bogus
kubectl apply
kubectl apply -f
kubectl apply -f many.yaml --prune -l set=many --dry-run=server
kubectl apply -f cm.json --prune
kubectl apply -f - <<< '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plain"},"data":{"a":"c"}}'
kubectl apply -n other -f - <<< '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plain","namespace":"elsewhere"}}'
kubectl apply -n nosuch-namespace -f cm.json
