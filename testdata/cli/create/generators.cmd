kubectl create configmap c --from-literal=a=1 --from-literal=b=two --dry-run=client -o yaml
kubectl create configmap c --from-file=greeting.txt --dry-run=client -o yaml
kubectl create configmap c --from-file=hi=greeting.txt --dry-run=client -o yaml
kubectl create configmap c --from-file=dir --dry-run=client -o yaml
kubectl create configmap c --from-env-file=settings.env --dry-run=client -o yaml
kubectl create configmap c --from-literal=a=1 --append-hash --dry-run=client -o name
kubectl create cm c --from-literal=a=1 --dry-run=client -o json
kubectl create secret generic s --from-literal=k=v --dry-run=client -o yaml
kubectl create secret generic s --from-literal=k=v --type=my/type --dry-run=client -o yaml
kubectl create secret generic s --from-file=greeting.txt --append-hash --dry-run=client -o name
kubectl create secret docker-registry r --docker-server=reg.example.com --docker-username=u --docker-password=p --docker-email=a@b.c --dry-run=client -o yaml
kubectl create secret tls t --cert=nosuch.crt --key=nosuch.key --dry-run=client -o yaml
kubectl create deployment d --image=nginx --dry-run=client -o yaml
kubectl create deployment d --image=nginx --replicas=3 --port=80 --dry-run=client -o yaml
kubectl create deployment d --image=nginx --image=busybox --dry-run=client -o yaml
kubectl create deployment d --image=busybox --dry-run=client -o yaml -- date -u
kubectl create job j --image=busybox --dry-run=client -o yaml -- echo hi
kubectl create cronjob c --image=busybox --schedule="*/5 * * * *" --dry-run=client -o yaml
kubectl create cronjob c --image=busybox --schedule="@daily" --restart=Never --dry-run=client -o yaml -- date
kubectl create namespace n --dry-run=client -o yaml
kubectl create serviceaccount s --dry-run=client -o yaml
kubectl create service clusterip s --tcp=80:8080 --dry-run=client -o yaml
kubectl create service clusterip s --clusterip=None --dry-run=client -o yaml
kubectl create service nodeport s --tcp=80:8080 --node-port=30001 --dry-run=client -o yaml
kubectl create service loadbalancer s --tcp=80 --dry-run=client -o yaml
kubectl create service externalname s --external-name=db.example.com --dry-run=client -o yaml
kubectl create role r --verb=get,list --resource=pods,deployments.apps --dry-run=client -o yaml
kubectl create role r --verb=get --resource=pods/log --resource-name=a --dry-run=client -o yaml
kubectl create clusterrole r --verb=get --non-resource-url=/healthz --dry-run=client -o yaml
kubectl create clusterrole r --aggregation-rule=a=b --dry-run=client -o yaml
kubectl create rolebinding b --role=r --user=alice --group=dev --serviceaccount=ns:sa --dry-run=client -o yaml
kubectl create rolebinding b --clusterrole=view --user=alice --dry-run=client -o yaml
kubectl create clusterrolebinding b --clusterrole=view --group=dev --dry-run=client -o yaml
kubectl create quota q --hard=cpu=1,pods=2 --scopes=BestEffort --dry-run=client -o yaml
kubectl create poddisruptionbudget p --selector=a=b --min-available=50% --dry-run=client -o yaml
kubectl create pdb p --selector=a=b --max-unavailable=1 --dry-run=client -o yaml
kubectl create priorityclass p --value=1000 --description=x --preemption-policy=Never --dry-run=client -o yaml
kubectl create ingress i --rule="shop.example.com/=svc:80" --dry-run=client -o yaml
kubectl create ingress i --class=skiff --rule="shop.example.com/*=svc:http,tls=cert" --default-backend=def:80 --annotation a=b --dry-run=client -o yaml
kubectl create token default --duration=10m -o json | sed 's/"token": ".*"/"token": "x"/'
kubectl create deployment d --image=nginx --dry-run=server -o name
