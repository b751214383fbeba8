# SPDX-License-Identifier: Apache-2.0
"""The ledger: what every request used and cost, kept in one SQLite file, and the reports on it."""
