!kubectl apply -f deploy.yaml -f pod.yaml
kubectl logs nosuch
kubectl logs web
kubectl logs web -c nosuch
kubectl logs
kubectl logs -l app=nosuch
kubectl logs web --since=1h --since-time=2026-01-01T00:00:00Z
