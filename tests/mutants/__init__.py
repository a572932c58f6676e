# SPDX-License-Identifier: Apache-2.0
"""Mistakes that the engine makes on purpose, and the tests that must notice."""
