!sed "s/CASE/$CASE/g" describe/workloads.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
!uid() { kubectl get $1 -o jsonpath={.metadata.uid}; }; sed "s/OWNER/$(uid deploy/shop)/; s/SET/$(uid rs/set)/" describe/replicasets.yaml | kubectl create -f -
kubectl describe deploy shop
kubectl describe deploy bare
kubectl describe sts db
kubectl describe ds agent
kubectl describe rs set
kubectl describe rc elder
kubectl describe job work
kubectl describe job plain
kubectl describe cronjob tick
kubectl describe cronjob bare
