# SPDX-License-Identifier: Apache-2.0
"""The read-only file system of agents: its tree, its face to the kernel, its process."""
