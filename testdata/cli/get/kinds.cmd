!sed -i s/SERVICE-IP/10.96.77.74/ service.yaml
!sed "s/CASE/$CASE/g" cluster.yaml > c.yaml; kubectl apply -f rich.yaml -f service.yaml -f c.yaml
kubectl get rs,sts,ds,job,cj -o wide
kubectl get ing,netpol,pvc,hpa,pdb,quota,limits,role,rolebinding,endpointslice
kubectl get node $CASE -o wide
kubectl get pv $CASE-vol
kubectl get sc $CASE-fast
kubectl get pc $CASE-high
kubectl get svc shop -o wide
