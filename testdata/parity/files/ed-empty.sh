#!/bin/bash
: > $1
