kubectl run p --image=nginx --dry-run=client -o yaml
kubectl run p --image=nginx --port=80 --env=A=1 --labels=a=b,c=d --restart=Never --dry-run=client -o yaml -- arg1 arg2
kubectl run p --image=nginx --command --dry-run=client -o yaml -- cmd arg
kubectl run p --image=nginx --overrides='{"spec":{"hostNetwork":true}}' --dry-run=client -o yaml
kubectl run p --image=nginx --expose --port=80 --dry-run=client -o yaml
