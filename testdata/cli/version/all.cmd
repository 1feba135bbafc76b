kubectl version --client -o json | grep -c gitVersion
kubectl version -o nosuch
kubectl version nosuch
kubectl version
kubectl version --client
