!kubectl create -f cm.json
kubectl edit cm fromjson
kubectl edit cm nosuch
KUBE_EDITOR="sed -i s/x:.y/x:\ z/" kubectl edit cm fromjson
kubectl get cm fromjson -o jsonpath={.data.x}
KUBE_EDITOR="sed -i s/name:.fromjson/name:\ other/" kubectl edit cm fromjson 2>&1 | head -3
