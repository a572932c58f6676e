# SPDX-License-Identifier: Apache-2.0
"""The fuzzing harness: proof, on any machine, that nothing is lost or invented.

The engine is here a second time, as a testing build (`_native`): it runs on a simulated
disk that can crash at any step, whose calls and allocations can be made to fail, with a
clock that moves only when told. `lsmkv fuzz` drives it; docs/testing.md says how, and
what is checked. Needs the extra [fuzz].

From the bottom up: `engine` binds the testing build, `notation` writes keys and values,
`session` runs commands, `script` files of them. `machine` and `metamorphic` make up
commands and know what must come out; `parts` are those and the programs in C, each in
a process of its own (`worker`), which `runner` keeps going until the time is up.
"""
