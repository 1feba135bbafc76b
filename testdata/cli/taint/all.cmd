!sed "s/CASE/$CASE/g" cluster.yaml > c.yaml; kubectl apply -f c.yaml
kubectl taint node $CASE key=v:NoSchedule
kubectl taint node $CASE key=v:NoSchedule
kubectl taint node $CASE key=w:NoSchedule
kubectl taint node $CASE key=w:NoSchedule --overwrite
kubectl taint node $CASE key-
kubectl taint node $CASE nosuch-
kubectl taint node $CASE a=b:Sometimes
kubectl taint node $CASE a
kubectl taint node nosuch a=b:NoSchedule
