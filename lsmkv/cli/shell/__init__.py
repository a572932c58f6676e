# SPDX-License-Identifier: Apache-2.0
"""The shell: the commands of the registry, typed into a database that stays open.

`session.py` runs lines, `own.py` has the commands that only the shell has. `grammar.py`
says what each word of a line is, for `complete.py` and `colour.py`. `loop.py` is the
terminal and the way in, `pager.py` what happens to long results. All but `loop.py`
works without a terminal.
"""
