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
    r"pass(?:word|wd|phrase)|_pwd|secret|(?:api|access|account|private|secret)[_-]?key|credential"
    r"|token"
)
_IS: Final = r"[\"']?\s{0,3}(?::=|=>|[:=])\s{0,3}"
# What stands for a value, is a path to it, or is looked up where it is.
_NO_VALUE: Final = (
    r"(?![$<{/~%*]|\.\.|xxx|file:|(?:none|null|true|false|required|optional)\b"
    r"|(?:self|this|settings|config|user|args|os|env|process|request)\.)"
)
_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "a private key": re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z ]{0,30}KEY(?: BLOCK)?-----|\Z)"
            r"|\bPuTTY-User-Key-File-.*\Z",
            re.DOTALL,
        ),
        "an Anthropic key": re.compile(r"\bsk-ant-[\w-]{8,}"),
        "an API key": re.compile(
            r"\b(?:sk-(?=[\w-]{0,80}[0-9])[\w-]{20,}|[rs]k_(?:live|test)_\w{16,}|AIza[\w-]{35}"
            r"|SG\.[\w-]{16,}\.[\w-]{16,}|gsk_[A-Za-z0-9]{32,}|xai-[A-Za-z0-9]{32,}"
            r"|pplx-[A-Za-z0-9]{32,})"
        ),
        "a GitHub or GitLab token": re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|gl(?:pat|rt|dt|ft|cbt|ptt|imt|soat|agent)-[\w-]{20,})"
        ),
        "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        "an Azure key": re.compile(
            r"\b\w{3}8Q~[\w~.-]{31,}|[?&]sig=(?=[\w%+/-]{0,60}[0-9])[\w%+/-]{30,}=?"
        ),
        "a Slack token": re.compile(r"\bxox[a-z]-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{20,}"),
        "a registry token": re.compile(
            r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|hf_[A-Za-z0-9]{30,}|dckr_pat_[\w-]{20,}"
            r"|rubygems_[0-9a-f]{40,})"
        ),
        "a service's token": re.compile(
            r"\b(?:whsec_[\w+/-]{20,}|dop_v1_[0-9a-f]{40,}|ya29\.[\w-]{20,}|xapp-[\w-]{20,}"
            r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|hv[brs]\.[\w-]{20,}|sq0[a-z]{3}-[\w-]{20,}"
            r"|GOCSPX-[\w-]{16,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}|[0-9]{8,10}:AA[\w-]{30,}"
            r"|dapi[0-9a-f]{32}|lin_api_\w{30,}|ATATT3[\w=-]{30,}|sntry[su]_[\w=+/-]{30,}"
            r"|discord(?:app)?\.com/api/webhooks/[0-9]{10,}/[\w-]{30,})"
        ),
        "a password of a command": re.compile(
            r"\b(?:curl|wget|http)\b[^\n]{0,200}\s(?:-u|--user)[ =][\"']?"
            r"[^\s:\"'$]{1,64}:[^\s\"'$]{4,}"
            r"|\s--(?:password|passphrase|token|api-key|secret)[ =](?![$<{/~-])"
            r"(?=[^\s\"']{0,40}[0-9])[^\s\"']{6,200}"
            r"|\blogin\s{1,3}\S{1,64}\s{1,3}password\s{1,3}\S{4,}"
        ),
        "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
        # A password may hold an @ itself: the last one ends it.
        "a password in a URL": re.compile(
            r"\b[a-z][a-z0-9+.-]{1,20}://(?:[^\s/:@]{0,100}:(?![$<{*]|pass(?:word)?@|x{3,}@)"
            r"[^\s/]{1,200}@|(?=[\w-]{0,100}[0-9])[\w-]{32,100}@)",
            re.IGNORECASE,
        ),
        "an Authorization header": re.compile(
            r"\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:basic|bearer|token)\s{1,3}(?![$<{])"
            r"(?:(?=\S{0,100}[0-9=._])\S{8,}|\S{20,})",
            re.IGNORECASE,
        ),
        "a cookie": re.compile(
            r"\bcookie:\s{0,3}[\w.-]{1,64}=(?=[^\s;]{0,100}[0-9])[^\s;]{12,}", re.IGNORECASE
        ),
        # Written as in an environment, or closed by what follows, any value counts.
        "a password or token": re.compile(
            rf"(?:{_NAMES}){_IS}"
            r"(?:[\"'](?![\"'$<{]|~?/\w+/)[^\"'\s]{6,200}[\"']"
            # Else one with letters and digits that is no call: in prose and in code the names
            # stand before much that is no secret.
            r"|(?=[^\s\"'`]{0,40}[0-9])(?=[^\s\"'`]{0,40}[A-Za-z])"
            rf"{_NO_VALUE}[^\s\"'`(),;]{{8,200}}(?![\w(]))"
            r"|(?-i:\b[A-Z0-9_]{0,40}(?:PASSWORD|PASSWD|PASSPHRASE|_PWD|SECRET|TOKEN))="
            rf"{_NO_VALUE}[^\s\"'`]{{4,200}}"
            r"|(?-i:\b[A-Z0-9_]{0,40}_KEY(?:_BASE)?)=(?=[^\s\"'`]{0,40}[0-9])"
            rf"{_NO_VALUE}[^\s\"'`]{{16,200}}"
            rf"|\b(?:password|pwd)={_NO_VALUE}[^\s\"';&]{{4,200}};"
            r"|<(?:password|secret|token|apikey)>[^<\s$]{6,200}</",
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
