#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goes round all targets once: campaign.sh SECONDS LEDGER SEED. `make fuzz-campaign`
# builds what it runs.
#
# Each target runs for SECONDS in each of four builds: under the sanitizers and without
# them, with checksums that are compared and with ones that always agree. Inputs that
# reach something new are kept in build/fuzz-corpus/TARGET, those that fail in
# build/fuzz-corpus/failures; a failure ends its run, not the round. Every run adds a
# line to the ledger.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=$1 ledger=$2 seed=$3
found=build/fuzz-corpus
status=0

mkdir -p $found/failures
for program in fuzz/fuzz fuzz/fuzz-unchecked fuzz-fast/fuzz fuzz-fast/fuzz-unchecked; do
    for target in $(build/fuzz-fast/fuzz --list); do
        mkdir -p "$found/$target"
        build/$program "$target" --seconds "$seconds" --seed "$seed" \
            --ledger "$ledger" --name "$program" --save "$found/$target" \
            --failures $found/failures "tests/fuzz/corpus/$target" "$found/$target" ||
            status=1
        seed=$((seed + 1))
    done
done
exit $status
