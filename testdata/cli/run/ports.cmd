kubectl run p --image=x --port=x
kubectl run p --image=x --port=0 --dry-run=client
kubectl run p --image=x --port=70000 --dry-run=client
kubectl run p --image=x --expose --port=x --dry-run=client
kubectl run p --image=x --port=0 --dry-run=client -o yaml
kubectl run p --image=x --port=70000 --dry-run=client -o yaml
kubectl run p --image=x --port=70000
kubectl run p --image=x --expose --port=0 --dry-run=client -o yaml
kubectl run p --image=x --port=+5 --dry-run=client -o name
