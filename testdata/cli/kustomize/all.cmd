kubectl kustomize kust/base
kubectl kustomize kust/over
kubectl kustomize nosuch
kubectl kustomize dir
