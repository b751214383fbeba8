# SPDX-License-Identifier: Apache-2.0
"""The daemon's HTTP face: routes, who may call, errors. Flask is named here and nowhere else."""
