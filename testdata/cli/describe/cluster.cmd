!sed "s/CASE/$CASE/g" describe/cluster.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
kubectl describe node $CASE
kubectl describe pv $CASE
kubectl describe pv $CASE-csi
kubectl describe pv $CASE-iscsi
kubectl describe sc/$CASE sc/$CASE-bare
kubectl describe pc $CASE
kubectl describe ingressclass $CASE
kubectl describe clusterrole $CASE
kubectl describe clusterrole view | head -20
kubectl describe clusterrolebinding $CASE
!kubectl delete sc $CASE
