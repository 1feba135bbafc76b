!kubectl create -f cm.json
!kubectl create -f dir/b.yml
kubectl replace -f cm.json
kubectl replace -f dir/b.yml
kubectl replace -f typo.yaml
kubectl replace --force -f cm.json
kubectl replace -f nosuch.yaml
