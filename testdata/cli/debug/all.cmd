!kubectl apply -f deploy.yaml -f pod.yaml
kubectl debug nosuch --image=busybox
kubectl debug web --image=busybox --copy-to=web
