#!/bin/bash
sed -i "s/k: v/k: edited/" $1
