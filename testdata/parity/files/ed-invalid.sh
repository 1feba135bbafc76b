#!/bin/bash
sed -i "s/app: [ab]$/app: -bad-/" $1
