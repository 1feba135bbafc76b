kubectl create configmap c --from-literal=a=1 --from-file=greeting.txt
kubectl create secret generic s --from-literal=k=v
kubectl create deployment d --image=nginx --replicas=2
kubectl create job j --image=busybox -- true
kubectl create cronjob cj --image=busybox --schedule="*/5 * * * *"
kubectl create job from --from=cronjob/cj
kubectl create serviceaccount sa
kubectl create service clusterip d --tcp=80:8080
kubectl create role r --verb=get,list --resource=pods,deployments.apps
kubectl create rolebinding b --role=r --serviceaccount=$CASE:sa
kubectl create clusterrole $CASE --verb=get --non-resource-url=/healthz
kubectl create clusterrolebinding $CASE --clusterrole=$CASE --user=alice
kubectl create quota q --hard=cpu=1,pods=2
kubectl create pdb p --selector=a=b --max-unavailable=1
kubectl create priorityclass $CASE --value=1000
kubectl create ingress i --rule="shop.example.com/=svc:80"
kubectl create token sa --duration=10m
kubectl create ns $CASE-other
kubectl create cm c
kubectl get cm/c secret/s deploy/d job/j cronjob/cj svc/d role/r rolebinding/b quota/q pdb/p ing/i -o name
kubectl get job from -o jsonpath='{.metadata.annotations}'
