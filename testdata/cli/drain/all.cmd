!sed "s/CASE/$CASE/g" cluster.yaml > c.yaml; kubectl apply -f c.yaml
!kubectl apply -f pod.yaml
kubectl drain $CASE --dry-run=client
kubectl drain $CASE --timeout=2s
kubectl drain nosuch
