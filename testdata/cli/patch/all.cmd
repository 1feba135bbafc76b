!kubectl apply -f deploy.yaml -f pod.yaml
kubectl patch deploy shop -p '{"spec":{"replicas":2}}'
kubectl patch deploy shop -p '{"spec":{"replicas":2}}'
kubectl patch deploy shop --type=json -p '[{"op":"replace","path":"/spec/replicas","value":5}]'
kubectl patch deploy shop --type=merge -p '{"metadata":{"labels":{"p":"q"}}}' -o name
kubectl patch deploy shop --type=json -p '[{"op":"test","path":"/spec/replicas","value":1}]'
kubectl patch deploy shop -p '{bad'
kubectl patch deploy shop -p '{"spec":{"replicas":-2}}'
kubectl patch deploy shop --type=nosuch -p '{}'
kubectl patch deploy shop
kubectl patch deploy nosuch -p '{}'
kubectl patch deploy shop --subresource=scale --type=merge -p '{"spec":{"replicas":3}}'
kubectl patch -f deploy.yaml -p '{"spec":{"replicas":3}}' --dry-run=client
