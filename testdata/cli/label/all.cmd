!kubectl apply -f deploy.yaml -f pod.yaml
kubectl label pod web colour=blue
kubectl label pod web colour=red
kubectl label pod web colour=red --overwrite
kubectl label pod web colour=red
kubectl label pod web colour-
kubectl label pod web colour-
kubectl label pod web a=b c=d --dry-run=client -o name
kubectl label pod web 'bad key=x'
kubectl label pod web --list
kubectl label pods --all x=y
kubectl label pods -l app=nosuch x=y
kubectl label pod nosuch x=y
kubectl label pod web
kubectl label pod web x=y x-
kubectl label pod web z=1 --resource-version=1
kubectl label -f pod.yaml from=file
