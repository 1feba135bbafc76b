kubectl kuberc set --section=aliases --name=names --command=get --prependarg=configmaps --option=output=name --kuberc=rc
# A file that is not there is not made for whoever names it.
!printf 'apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n' > rc
kubectl kuberc set --section=aliases --name=names --command=get --prependarg=configmaps --option=output=name --kuberc=rc
kubectl kuberc set --section=defaults --command=get --option=show-labels=true --kuberc=rc
kubectl kuberc view --kuberc=rc
!kubectl create configmap one
kubectl names --kuberc=rc
kubectl get configmap one --kuberc=rc
