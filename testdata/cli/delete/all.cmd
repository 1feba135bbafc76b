!kubectl apply -f many.yaml -f cm.json -f dir -f deploy.yaml
!kubectl create cm plain --from-literal=a=b
kubectl delete -f many.yaml
kubectl delete -f many.yaml
kubectl delete -f many.yaml --ignore-not-found
kubectl delete cm fromjson plain
kubectl delete cm fromjson
kubectl delete cm -l a=b
kubectl delete cm --all --dry-run=client
kubectl delete cm
kubectl delete
kubectl delete deploy/shop --cascade=orphan --wait=false
kubectl delete deploy/shop --wait=false
kubectl delete nosuch/x
kubectl delete cm in-dir --now
kubectl delete cm in-dir-two --grace-period=-5
kubectl delete pods --all
kubectl delete ns nosuch
kubectl delete cm x --cascade=bogus
kubectl delete cm --all -l a=b
