!kubectl create cm a --from-literal=x=1
!kubectl create secret generic s --from-literal=a=b
kubectl create deployment d --image=x --port=99999
kubectl create service nodeport n --tcp=0:80
kubectl create service nodeport n --tcp=80:0
kubectl create service nodeport n --tcp=80:Web
kubectl create service nodeport n --tcp=80:
kubectl create service nodeport n --tcp=:80
kubectl create service nodeport n --tcp=80:1:2 --dry-run=client -o yaml
kubectl create service nodeport n --tcp=80:99999
kubectl create service nodeport n --tcp=+80
kubectl create service nodeport n --tcp=80:aaaaaaaaaaaaaaaaaaaaa
kubectl create service nodeport n --tcp=80:a--b
kubectl create service nodeport n --tcp=80:-a
kubectl create service nodeport n --tcp=80:1--
kubectl create service nodeport n --tcp=80 --node-port=9
kubectl create quota a --hard=pods=x
kubectl create pdb a --selector=x=y --min-available=-1
kubectl create priorityclass a --value=2000000000
kubectl create clusterrolebinding cluster-admin --clusterrole=view --user=x
kubectl create ingress UP --rule=a/b=c:80
kubectl create job UP --image=x
kubectl create cronjob UP --image=x --schedule='* * * * *'
kubectl create cronjob a --image=x --schedule='x'
kubectl create deployment UP --image=x
kubectl create sa default -o name
kubectl create secret tls t --cert=/dev/null --key=/dev/null
kubectl create secret docker-registry s --docker-server=x --docker-username=y --docker-password=z
kubectl create secret generic s --from-literal=a
kubectl create token nosuch
kubectl create cm a -n nosuch
kubectl create cm a --from-literal=a=b --dry-run=server
kubectl create role UP/x --verb=get --resource=pods
kubectl create ns UP
