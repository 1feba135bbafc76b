!sed "s/CASE/$CASE/g" describe/config.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
!kubectl create -f - <<< '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"user"},"spec":{"automountServiceAccountToken":false,"containers":[{"name":"a","image":"x"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]}}'
kubectl describe cm settings
kubectl describe cm empty
kubectl describe secret hidden
kubectl describe secret builder-token
kubectl describe sa builder
kubectl describe sa default
kubectl describe role reader
kubectl describe rolebinding reader
kubectl describe pvc data
kubectl describe pvc waiting
!kubectl delete pvc data --wait=false
kubectl describe pvc data | grep ^Status
