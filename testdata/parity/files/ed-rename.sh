#!/bin/bash
sed -i "s/name: c1/name: c9/" $1
