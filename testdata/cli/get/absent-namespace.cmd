kubectl get cm x -n nosuchns
kubectl get cm x y -n nosuchns
kubectl get cm -n nosuchns
kubectl describe cm x -n nosuchns
kubectl delete cm x -n nosuchns
kubectl label cm x a=b -n nosuchns
kubectl annotate cm x a=b -n nosuchns
kubectl patch cm x -p '{}' -n nosuchns
kubectl scale deploy x --replicas=1 -n nosuchns
kubectl edit cm x -n nosuchns
kubectl logs x -n nosuchns
kubectl exec x -n nosuchns -- ls
kubectl set image deploy/x a=b -n nosuchns
kubectl rollout status deploy/x -n nosuchns
kubectl wait cm/x --for=condition=y -n nosuchns
kubectl expose deploy x --port=1 -n nosuchns
kubectl autoscale deploy x --max=1 -n nosuchns
kubectl apply view-last-applied cm x -n nosuchns
kubectl port-forward x 80 -n nosuchns
kubectl attach x -n nosuchns
kubectl rollout undo deploy/x -n nosuchns
kubectl debug x --image=y -n nosuchns
kubectl events -n nosuchns
kubectl get pods x -n nosuchns -o yaml
kubectl get cm x -n nosuchns --ignore-not-found
kubectl rollout history deploy/x -n nosuchns
