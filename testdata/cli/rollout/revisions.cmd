!kubectl apply -f deploy.yaml -f pod.yaml
!kubectl rollout restart deploy/shop
kubectl rollout history deploy/shop
kubectl rollout status deploy/shop --watch=false
kubectl rollout history sts/none
