# SPDX-License-Identifier: Apache-2.0
"""The dashboard: what the daemon tells, on a terminal; a client of the local socket like others."""
