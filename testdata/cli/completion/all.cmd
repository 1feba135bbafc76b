kubectl completion nosuch
kubectl completion bash | head -3
