# SPDX-License-Identifier: Apache-2.0
"""The command `lsmkv`.

`command.py` says what a command is, `commands.py` lists what there is. A command
returns a result; only `render.py` and the function that shows it write to the terminal.
`__main__.py` is the command line, `shell/` the shell.
"""
