# SPDX-License-Identifier: Apache-2.0
"""The workloads of bench/, which compares us with others, and `lsmkv bench`."""
