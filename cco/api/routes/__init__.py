# SPDX-License-Identifier: Apache-2.0
"""The routes, one module for each subject; each makes its blueprint from the services."""
