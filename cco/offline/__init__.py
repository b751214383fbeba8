# SPDX-License-Identifier: Apache-2.0
"""The offline upstream: a small server that speaks the Messages API and asks no model."""
