!sed -i s/SERVICE-IP/10.96.77.73/ service.yaml
!kubectl apply -f pod.yaml -f deploy.yaml -f service.yaml -f many.yaml
!kubectl patch pod web --subresource=status --type=merge -p '{"status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}],"conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"main","ready":true,"restartCount":2,"image":"nginx","imageID":"","state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}},{"name":"side","ready":false,"restartCount":0,"image":"b","imageID":"","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}'
kubectl get pods
kubectl get pod web
kubectl get po web --no-headers
kubectl get pods --show-labels
kubectl get pods -L app,tier
kubectl get pods -o name
kubectl get pod/web -o name
kubectl get deploy,svc
kubectl get deploy shop -o wide
kubectl get svc shop -o yaml | grep -v -e clusterIP -e ' - 10.96' -e uid -e Timestamp -e resourceVersion
kubectl get deploy/shop svc/shop -o name
kubectl get cm -l set=many
kubectl get cm -l set=none
kubectl get pods --field-selector=spec.nodeName=node-a -o name
kubectl get pods --field-selector=status.phase!=Running
kubectl get cm,secret -l set=many -o name
kubectl get cm --sort-by=.metadata.name -o name
kubectl get cm --sort-by='{.metadata.labels.set}' -o name
kubectl get all
kubectl get all -l app=shop -o name
kubectl get pods -n $CASE-none
kubectl get -f pod.yaml
kubectl get -f dir
kubectl get --raw /api/v1/namespaces/$CASE/configmaps/one | head -c 60
kubectl get cm one -o yaml
kubectl get cm one -o json
kubectl get cm one -o yaml --show-managed-fields
kubectl get cm one four -o yaml
kubectl get cm one -o wide
kubectl get cm one --output=name
kubectl get configmaps.v1. one -o name
kubectl get deployments.apps shop -o name
kubectl get deployments.v1.apps shop -o name
kubectl get cm --chunk-size=1 -o name
kubectl get pod web --subresource=status -o name
kubectl get deploy shop --subresource=scale
kubectl get cm kube-root --ignore-not-found -o json
kubectl get secret two
kubectl get sa
kubectl get ep,rs,sts,ds,job,cj,ing,netpol,pvc,pdb,hpa,quota,limits
kubectl get pod web -o wide
kubectl get cm one -o kyaml
kubectl get pods -o json | head -4
kubectl get pod web --request-timeout=1s --watch --no-headers 2>/dev/null | head -1
kubectl get ns $CASE
