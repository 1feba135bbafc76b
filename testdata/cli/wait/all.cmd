!kubectl apply -f deploy.yaml -f pod.yaml
kubectl wait pod/web --for=condition=Ready --timeout=1s
kubectl wait pod/web --for=jsonpath='{.spec.nodeName}'=node-a --timeout=2s
kubectl wait pod/web --for=jsonpath='{.status.phase}'=Running --timeout=1s
kubectl wait pod/nosuch --for=condition=Ready --timeout=1s
kubectl wait pod/nosuch --for=delete --timeout=1s
kubectl wait --for=create pod/web --timeout=1s
kubectl wait pod/web
kubectl wait pod/web --for=nonsense
kubectl wait --for=condition=Ready pod -l app=nosuch --timeout=1s
kubectl wait --for=condition=Available deploy --all --timeout=1s
