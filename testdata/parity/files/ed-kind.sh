#!/bin/bash
sed -i "s/kind: ConfigMap/kind: Secret/" $1
