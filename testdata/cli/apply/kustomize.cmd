kubectl apply -k kust/base --dry-run=client
kubectl apply -k kust/over --dry-run=client -o name
kubectl apply -k kust/over
kubectl get -k kust/over -o name
kubectl diff -k kust/over; echo "status $?"
kubectl delete -k kust/over
kubectl apply -k kust/over -f cm.json
kubectl create -k kust/base --dry-run=client -o name
