# A replication controller, which nobody acts upon here: made, scaled, and deleted.
!printf '{"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"old"},"spec":{"replicas":1,"selector":{"app":"old"},"template":{"metadata":{"labels":{"app":"old"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}}' > rc.json
kubectl create -f rc.json
kubectl scale rc old --replicas=1
kubectl scale rc old --replicas=2 --current-replicas=2
kubectl scale rc old --replicas=2 --current-replicas=1
kubectl get rc old -o jsonpath={.spec.replicas}
kubectl delete rc old
kubectl get rc
