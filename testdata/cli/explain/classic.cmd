kubectl explain cm -o plaintext-openapiv2
kubectl explain cm -o plaintext-openapiv2 --recursive
kubectl explain deploy.spec -o plaintext-openapiv2
kubectl explain pod.spec.containers -o plaintext-openapiv2
kubectl explain pod.spec.containers.resources -o plaintext-openapiv2
kubectl explain pod.spec.containers.livenessProbe.httpGet -o plaintext-openapiv2
kubectl explain pod.spec.containers.livenessProbe.httpGet.port -o plaintext-openapiv2
kubectl explain pod.spec.nodeSelector -o plaintext-openapiv2
kubectl explain controllerrevision -o plaintext-openapiv2
kubectl explain svc.spec.ports -o plaintext-openapiv2
kubectl explain pdb.spec -o plaintext-openapiv2 --recursive
kubectl explain pod.spec.nosuch -o plaintext-openapiv2
