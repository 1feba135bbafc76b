!kubectl apply -f deploy.yaml -f cm.json
kubectl diff -f deploy2.yaml | grep '^[-+]' | grep -v '^[-+][-+]' | head -20
kubectl diff -f cm.json; echo "status $?"
kubectl diff -f nosuch.yaml; echo "status $?"
kubectl diff --server-side -f deploy.yaml; echo "status $?"
kubectl diff -f many.yaml | grep '^[-+]' | grep -v '^[-+][-+]'
