!sed -i s/SERVICE-IP/10.96.77.72/ service.yaml
!kubectl apply -f pod.yaml -f deploy.yaml -f service.yaml -f many.yaml
!kubectl patch pod web --subresource=status --type=merge -p '{"status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}],"conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"main","ready":true,"restartCount":2,"image":"nginx","imageID":"","state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}},{"name":"side","ready":false,"restartCount":0,"image":"b","imageID":"","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}'
kubectl get cm -l 'set in (many,few),!nosuch' -o name
kubectl get cm --selector=a=b=c
kubectl get pods --field-selector=nosuch=1
kubectl get cm --sort-by=.nosuch
kubectl get nosuch
kubectl get pods nosuch
kubectl get pod/web deploy/nosuch
kubectl get pods web nosuch
kubectl get pods --ignore-not-found nosuch
kubectl get
kubectl get pods,
kubectl get pods/
kubectl get pod web extra/thing
kubectl get -f nosuch.yaml
kubectl get --raw /nosuch
kubectl get cm one -o nosuch
kubectl get deployments.nosuch shop
kubectl get deploy shop --subresource=nosuch
