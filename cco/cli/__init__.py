# SPDX-License-Identifier: Apache-2.0
"""The command `cco`: short-lived, and fast to start; it imports the daemon's code nowhere."""
