# SPDX-License-Identifier: Apache-2.0
"""Finds secrets by their form, so that knowledge never holds one; pure.

What has no form of its own (a password in the middle of a sentence) is not found. Every pattern is
bounded, so that a text of any kind costs time in proportion to its length.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NAMES: Final = (
    r"pass(?:word|wd|phrase)|_pwd|secret|(?:api|access|account|private)[_-]?key|credential|token"
)
_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "a private key": re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}KEY-----|\Z)",
            re.DOTALL,
        ),
        "an Anthropic key": re.compile(r"\bsk-ant-[\w-]{8,}"),
        "an API key": re.compile(
            r"\b(?:sk-[\w-]{20,}|[rs]k_(?:live|test)_\w{16,}|AIza[\w-]{35}|SG\.[\w-]{16,}\.[\w-]{16,})"
        ),
        "a GitHub or GitLab token": re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,})"
        ),
        "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        "a Slack token": re.compile(r"\bxox[a-z]-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{20,}"),
        "a registry token": re.compile(r"\b(?:npm_\w{30,}|pypi-[\w-]{40,}|hf_[A-Za-z0-9]{30,})"),
        "a service's token": re.compile(
            r"\b(?:whsec_[\w+/-]{20,}|dop_v1_[0-9a-f]{40,}|ya29\.[\w-]{20,}|xapp-[\w-]{20,}"
            r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|hv[brs]\.[\w-]{20,}|sq0[a-z]{3}-[\w-]{20,}"
            r"|GOCSPX-[\w-]{16,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}|[0-9]{8,10}:AA[\w-]{30,})"
        ),
        "a password of a command": re.compile(
            r"\b(?:curl|wget|http)\b[^\n]{0,200}\s(?:-u|--user)[ =][\"']?"
            r"[^\s:\"'$]{1,64}:[^\s\"'$]{4,}"
        ),
        "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
        "a password in a URL": re.compile(
            r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:[^\s/@]{1,200}@", re.IGNORECASE
        ),
        "an Authorization header": re.compile(
            r"\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:basic|bearer|token)\s{1,3}\S{8,}",
            re.IGNORECASE,
        ),
        # A value counts if it is quoted, or has letters and digits and is no call: in prose and in
        # code the names stand before much that is no secret.
        "a password or token": re.compile(
            rf"(?:{_NAMES})[\"']?\s{{0,3}}[:=]\s{{0,3}}"
            r"(?:[\"'](?![\"'$<{])[^\"'\s]{6,200}[\"']"
            r"|(?=[^\s\"'`]{0,40}[0-9])(?=[^\s\"'`]{0,40}[A-Za-z])(?![$<{/~]|file:)[^\s\"'`(),;]{8,200}(?![\w(]))",
            re.IGNORECASE,
        ),
    }
)


def find_secret(text: str) -> str | None:
    """Return what kind of secret a text seems to hold, None if none."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(text)), None)


def redact(text: str) -> str:
    """Return the text with what seems secret replaced by its kind."""
    for kind, pattern in _PATTERNS.items():
        text = pattern.sub(f"[{kind}, left out]", text)
    return text
