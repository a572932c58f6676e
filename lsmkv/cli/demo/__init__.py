# SPDX-License-Identifier: Apache-2.0
"""`lsmkv demo`: the standard library of the running Python, stored and checked.

parse.py   a file of source to records; also the program of the parsing processes
corpus.py  all records, from parsing processes, under unique keys
expiry.py  sessions that expire while one looks on
crash.py   the process that writes until it is killed, and what must be left of it
run.py     the order of things, and the checks
report.py  how the result looks

`lsmkv demo vectors`: its docstrings as vectors, computed once.

embeddings.py         the order of things, and the checks
embeddings_report.py  how the result looks
"""
