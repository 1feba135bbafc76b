#!/bin/bash
sed -i "s/app: web/app: other/" $1
