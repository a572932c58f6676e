# SPDX-License-Identifier: Apache-2.0
"""What the tests build and bind: the engine as a library, and the C programs."""
