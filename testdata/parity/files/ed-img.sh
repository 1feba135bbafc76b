#!/bin/bash
sed -i "s/image: .*/image: edited:1/" $1
