!kubectl apply -f deploy.yaml -f pod.yaml
kubectl set image deploy/shop front=shop:3
kubectl set image deploy/shop front=shop:3
kubectl set image deploy/shop nosuch=x
kubectl set image deploy/shop '*=shop:4'
kubectl set image deploy/shop
kubectl set image deploy/shop front=shop:5 --local -o yaml
kubectl set image -f deploy.yaml front=shop:5 --local -o yaml
kubectl set env deploy/shop B=2
kubectl set env deploy/shop B=2
kubectl set env deploy/shop --list
kubectl set env deploy/shop A-
kubectl set env pod/web --list
kubectl set env deploy/shop --from=configmap/none
kubectl set env deploy/shop bad
kubectl set resources deploy/shop --limits=cpu=1,memory=1Gi --requests=cpu=100m
kubectl set resources deploy/shop -c nosuch --limits=cpu=1
kubectl set resources deploy/shop
kubectl set selector svc/none a=b
kubectl set serviceaccount deploy/shop builder
kubectl set sa deploy/shop builder
kubectl set subject rolebinding none --user=a
kubectl set
