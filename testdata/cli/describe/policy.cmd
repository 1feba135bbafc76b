!sed "s/CASE/$CASE/g" describe/policy.yaml > o.yaml; kubectl create -f o.yaml
!kubectl replace --subresource=status -f o.yaml || true
kubectl describe pdb guard
kubectl describe pdb loose
kubectl describe hpa auto
kubectl describe hpa bare
kubectl describe quota quota
kubectl describe quota empty
kubectl describe limits limits
!kubectl patch ns $CASE --subresource=status --type=merge -p '{"status":{"conditions":[{"type":"NamespaceContentRemaining","status":"True","lastTransitionTime":"2001-02-03T04:05:06Z","reason":"SomeResourcesRemain","message":"m"}]}}'
kubectl describe ns $CASE
kubectl describe ns kube-public
