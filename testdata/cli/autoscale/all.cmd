!kubectl apply -f deploy.yaml -f pod.yaml
kubectl autoscale deploy shop --min=1 --max=4 --cpu=50%
kubectl autoscale deploy shop --max=4
kubectl autoscale deploy shop --min=5 --max=4
kubectl autoscale deploy shop
kubectl autoscale deploy nosuch --max=3
