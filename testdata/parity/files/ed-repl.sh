#!/bin/bash
sed -i "s/replicas: .*/replicas: 5/" $1
