# SPDX-License-Identifier: Apache-2.0
"""Databases of every version of the file format, and a second reader of it."""
