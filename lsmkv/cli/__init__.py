# SPDX-License-Identifier: Apache-2.0
"""The command `lsmkv`.

`commands.py` lists what there is, each command returns a result, and only `render.py`
and the `report.py` of a command write to the terminal.
"""
