!sed "s/CASE/$CASE/g" describe/network.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
kubectl describe svc shop
kubectl describe svc inner
kubectl describe svc outer
kubectl describe endpointslice shop-a
kubectl describe endpointslice empty
kubectl describe endpoints shop
kubectl describe ing door
kubectl describe ing bare
kubectl describe netpol wall
kubectl describe netpol open
