!kubectl create -f pod.yaml
!kubectl create -f - <<< '{"apiVersion":"v1","kind":"Event","metadata":{"name":"web.1"},"involvedObject":{"kind":"Pod","namespace":"'$CASE'","name":"web","apiVersion":"v1","uid":""},"reason":"Pulled","message":"Image present","type":"Normal","count":3,"firstTimestamp":"2001-01-02T03:04:05Z","lastTimestamp":"2001-01-02T03:04:05Z","source":{"component":"kubelet","host":"node-a"}}'
kubectl events
kubectl events --for pod/web
kubectl events --types=Warning
kubectl events --types=Odd
kubectl events -o name
kubectl get events
kubectl describe pod web | tail -4
