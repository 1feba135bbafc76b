#!/bin/bash
sed -i "s/app: a/app: zz/" $1
