# SPDX-License-Identifier: Apache-2.0
"""The form of the tree, as tests."""
