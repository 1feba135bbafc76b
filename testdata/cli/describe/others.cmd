!kubectl apply -f pod.yaml -f deploy.yaml -f many.yaml
kubectl describe flowschema exempt
kubectl describe prioritylevelconfiguration exempt
kubectl describe svc kubernetes -n default | grep -v -e Endpoints -e TargetPort
kubectl describe pod nosuch
kubectl describe nosuch x
kubectl describe
kubectl describe pod we | head -3
kubectl describe -f pod.yaml | head -5
kubectl describe pods -l app=web | head -3
kubectl describe pods -l app=none
kubectl describe deploy/shop cm/one | head -40
kubectl describe pod web --show-events=false | tail -4
