kubectl get pods --as=alice
kubectl get pods --token=wrong
kubectl get pods --server=https://127.0.0.1:1 2>&1 | tail -1
kubectl get pods --context=nosuch
kubectl get pods --kubeconfig=nosuch
kubectl get pods --request-timeout=bad
kubectl nosuch
kubectl gett pods
kubectl get pods --nosuch
kubectl get pods -Z
