#!/bin/bash
printf "bogus: 1\n" >> $1
