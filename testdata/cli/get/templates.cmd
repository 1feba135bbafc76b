!sed -i s/SERVICE-IP/10.96.77.71/ service.yaml
!kubectl apply -f pod.yaml -f deploy.yaml -f service.yaml -f many.yaml
!kubectl patch pod web --subresource=status --type=merge -p '{"status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}],"conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"main","ready":true,"restartCount":2,"image":"nginx","imageID":"","state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}},{"name":"side","ready":false,"restartCount":0,"image":"b","imageID":"","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}'
kubectl get pods web -o jsonpath='{.metadata.name}'
kubectl get pods -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.spec.nodeName}{"\n"}{end}'
kubectl get pods -o jsonpath='{.items[*].spec.containers[*].image}'
kubectl get pods -o jsonpath='{.items[?(@.metadata.name=="web")].spec.nodeName}'
kubectl get pod web -o jsonpath='{.spec.containers[0].ports}'
kubectl get pod web -o jsonpath='{.metadata.labels.app}{"\n"}'
kubectl get pod web -o jsonpath='{.spec.containers[-1:].name}'
kubectl get pod web -o jsonpath='{..image}'
kubectl get pod web -o jsonpath='{.nosuch}'
kubectl get pod web -o jsonpath='{.spec[}'
kubectl get pod web -o 'jsonpath-as-json={.spec.containers[*].name}'
kubectl get pod web -o go-template='{{.metadata.name}} {{range .spec.containers}}{{.name}},{{end}}{{"\n"}}'
kubectl get pods -o go-template='{{range .items}}{{.metadata.name | printf "%-8s"}}|{{len .spec.containers}}{{"\n"}}{{end}}'
kubectl get pod web -o go-template='{{if .spec.hostNetwork}}host{{else}}pod{{end}}'
kubectl get pod web -o go-template='{{index .metadata.labels "app"}} {{exists . "spec" "nodeName"}}'
kubectl get secret two -o go-template='{{.data.password | base64decode}}'
kubectl get pod web -o go-template='{{.nosuch.x}}'
kubectl get pod web -o go-template='{{.bad'
kubectl get pods -o custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image,NONE:.nosuch
kubectl get pods -o custom-columns=NAME:.metadata.name --no-headers
kubectl get pods -o custom-columns=bad
kubectl get secret two -o jsonpath='{.data}'
