!kubectl apply -f deploy.yaml -f pod.yaml
kubectl annotate pod web note=bye --overwrite
kubectl annotate pod web note=again
kubectl annotate pod web note-
kubectl annotate pods --all k=v
kubectl annotate pod web --list
