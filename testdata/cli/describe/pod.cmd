!sed "s/CASE/$CASE/g" describe/pod.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
!kubectl create -f describe/plain.yaml
!kubectl create -f - <<< '{"apiVersion":"v1","kind":"Event","metadata":{"name":"all.1"},"involvedObject":{"kind":"Pod","namespace":"'$CASE'","name":"all","uid":"'$(kubectl get pod all -o jsonpath={.metadata.uid})'","fieldPath":"spec.containers{main}"},"reason":"Pulled","message":"Image present","type":"Normal","count":3,"firstTimestamp":"2001-01-02T03:04:05Z","lastTimestamp":"2001-01-02T03:04:05Z","source":{"component":"kubelet","host":"node-a"}}'
kubectl describe pod all
kubectl describe pod plain
kubectl describe pod pl
kubectl describe pods --show-events=true
kubectl describe pods -l app=all --show-events=false
!kubectl delete pod all --wait=false
kubectl describe pod all | grep -A1 ^Status
