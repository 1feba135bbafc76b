kubectl auth can-i create pods
kubectl auth can-i create pods --as=alice
kubectl auth can-i get pods/log --as=alice -q; echo $?
kubectl auth can-i '*' '*'
kubectl auth can-i get /healthz --as=alice
kubectl auth can-i --list --as=alice
kubectl auth can-i fly pods
kubectl auth can-i get nosuch
kubectl auth can-i
kubectl auth whoami
kubectl auth whoami -o json
kubectl auth whoami --as=alice --as-group=dev
kubectl auth reconcile -f rich.yaml --dry-run=client
