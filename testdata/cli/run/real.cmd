kubectl run p --image=nginx --port=80
kubectl run q --image=nginx --expose --port=80
kubectl run p --image=nginx
kubectl run
kubectl run x
kubectl get pods,svc -o name
