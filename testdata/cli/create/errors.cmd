kubectl create deployment d
kubectl create deployment --image=x
kubectl create configmap
kubectl create configmap c --from-literal=a
kubectl create configmap c --from-literal=a=1 --from-literal=a=2 --dry-run=client
kubectl create configmap c --from-file=absent.txt
kubectl create secret
kubectl create secret generic s --from-env-file=absent.env
kubectl create service clusterip s
kubectl create service nodeport s --tcp=x:y
kubectl create role r
kubectl create role r --verb=get
kubectl create role r --verb=fly --resource=pods --dry-run=client
kubectl create rolebinding b
kubectl create quota q --hard=cpu --dry-run=client
kubectl create cronjob c --image=x --schedule="bad" --dry-run=server
kubectl create job j --image=x --from=cronjob/none
kubectl create ingress i --rule=bad
kubectl create nosuch x
kubectl create pdb p --selector=a=b
kubectl create deployment D --image=nginx
kubectl create deployment d --image=nginx --dry-run=client
kubectl create ns n --dry-run=server
