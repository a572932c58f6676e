# SPDX-License-Identifier: Apache-2.0
"""Directories that nobody should trust, and the process that reads them."""
