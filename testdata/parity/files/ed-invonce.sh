#!/bin/bash
if [ -e "$HOME/tmp/once" ]; then cat $1 > $HOME/tmp/seen; else touch $HOME/tmp/once; sed -i "s/app: [ab]$/app: -bad-/" $1; fi
