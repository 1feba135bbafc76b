#!/bin/bash
sed -i "s/resourceVersion: .*/resourceVersion: \"1\"/;s/k: v/k: e/" $1
