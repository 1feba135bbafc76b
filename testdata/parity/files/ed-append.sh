#!/bin/bash
printf "\nextra: 1\n" >> $1
