#!/bin/bash
if [ -e "$HOME/tmp/once" ]; then true; else touch $HOME/tmp/once; sed -i "s/^data:/da ta: [/" $1; fi
