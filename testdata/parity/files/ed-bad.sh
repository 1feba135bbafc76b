#!/bin/bash
sed -i "s/^data:/da ta: [/" $1
