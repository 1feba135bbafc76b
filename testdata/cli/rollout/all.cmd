!kubectl apply -f deploy.yaml -f pod.yaml
kubectl rollout history deploy/shop
kubectl rollout status deploy/shop --timeout=1s
kubectl rollout status deploy/nosuch
kubectl rollout status cm/x
kubectl rollout pause deploy/shop
kubectl rollout pause deploy/shop
kubectl rollout restart deploy/shop
kubectl rollout resume deploy/shop
kubectl rollout resume deploy/shop
kubectl rollout restart deploy/shop -o name
kubectl rollout undo deploy/shop
kubectl rollout undo deploy/shop --to-revision=9
kubectl rollout history deploy/shop --revision=7
kubectl rollout
kubectl rollout restart pod/web
