# SPDX-License-Identifier: Apache-2.0
"""Sealed files: their format, the keys they are sealed with, and where the master key lies."""
