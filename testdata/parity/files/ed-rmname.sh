#!/bin/bash
sed -i "/^  name:/d" $1
