#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the committed corpus anew: minimise.sh PROGRAM FAILED CORPUS...
#
# Of the inputs in CORPUS/TARGET those are kept, smaller ones first, that reach
# something new: of large formats only those that reach enough of it for their size.
# All of FAILED/TARGET are kept: inputs that made a target fail once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
program=$1 failed=$2
shift 2

mkdir -p corpus.new
for target in $("$program" --list); do
    gain=1 size=4096
    case $target in
        directory) gain=100 size=9000 ;;
        manifest | table) gain=24 ;;
        batch | log | record | values | cache | edit | block) gain=6 ;;
    esac
    sources=()
    for corpus in "$@"; do
        [[ -d $corpus/$target ]] && sources+=("$corpus/$target")
    done
    "$program" "$target" --minimise "corpus.new/$target" --gain $gain \
        --max-bytes $size "${sources[@]}"
    if [[ -d $failed/$target ]]; then
        cp "$failed/$target"/* "corpus.new/$target/"
    fi
done
rm -rf corpus && mv corpus.new corpus
