!sed "s/CASE/$CASE/g" cluster.yaml > c.yaml; kubectl apply -f c.yaml
!kubectl cordon $CASE
kubectl uncordon $CASE
kubectl uncordon $CASE
