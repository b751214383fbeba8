# SPDX-License-Identifier: Apache-2.0
"""The processes that stay: the API under Gunicorn, and a supervisor where systemd is not init."""
