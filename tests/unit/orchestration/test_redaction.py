# SPDX-License-Identifier: Apache-2.0
"""Secrets are known by their form, and what only looks alike is left alone."""

import pytest

from cco.orchestration.redaction import find_secret, redact

# Put together here, so that no scanner takes them for real ones.
SECRETS = [
    ("a private key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"),
    ("a private key", "-----BEGIN OPENSSH PRIVATE KEY-----\ncut off in the mid"),
    ("an Anthropic key", "sk-ant-" + "test-of-the-knowledge"),
    ("an API key", "sk-" + "proj-0123456789abcdefghij"),
    ("an API key", "sk_live_" + "0123456789abcdef"),
    ("an API key", "AIza" + "0123456789abcdefghijklmnopqrstuvwxy"),
    ("a GitHub or GitLab token", "ghp_" + "0123456789abcdefghijklmnopqrstuvwxyz"),
    ("a GitHub or GitLab token", "github_pat_" + "0123456789abcdefghij_0123"),
    ("a GitHub or GitLab token", "glpat-" + "0123456789abcdefghij"),
    ("an AWS key", "AKIA" + "0123456789ABCDEF"),
    ("a Slack token", "xoxb-" + "0123456789-abcdef"),
    ("a registry token", "npm_" + "0123456789abcdefghijklmnopqrstuvwxyz"),
    ("a JSON web token", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0.c2lnbmF0dXJl"),
    ("a password in a URL", "postgres://alice:correct-horse@db.internal/app"),
    ("a password in a URL", "redis://:hunter2@localhost:6379"),
    ("a service's token", "whsec_" + "0123456789abcdefghijklmn"),
    ("a service's token", "dop_v1_" + "0123456789abcdef" * 3),
    ("a service's token", "AGE-SECRET-KEY-1" + "0123456789QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    ("a service's token", "ya29." + "0123456789abcdefghij"),
    ("a service's token", "xapp-" + "1-A0123456-0123456789-abcdef"),
    ("a service's token", "shpat_" + "0123456789abcdef" * 2),
    ("a service's token", "hvs." + "0123456789abcdefghij"),
    ("a service's token", "0123456789" + ":AA" + "0123456789abcdefghijklmnopqrstuv"),
    ("a password of a command", "curl -fsS -u admin:hunter2 https://example.com"),
    ("a password or token", "AccountName=x;AccountKey=0123456789abcdef0123456789abcdef=="),
    ("a password or token", "MYSQL_PWD=hunter2hunter2"),
    ("a password or token", "PASSWORD=hunter2"),
    ("a password or token", "export DB_PASSWORD=correcthorsebattery"),
    ("a password or token", "DB_PASSWORD=pa(ss)word,even,so"),
    ("a password or token", "SECRET_KEY_BASE=0123456789abcdef0123"),
    ("a password or token", "ENCRYPTION_KEY=0123456789abcdef0123456789abcdef"),
    ("a password or token", "SECRET_KEY = 'django-" + "insecure-abc'"),
    ("a password or token", 'password := "correct-horse"'),
    ("a password or token", ":password => 'correct-horse'"),
    ("a password or token", "Server=db;User Id=sa;Password=Correcthorse;Encrypt=yes"),
    ("a password or token", "<password>correcthorse</password>"),
    ("a password of a command", "mysql --user alice --password hunter2hunter2"),
    ("a password of a command", "machine api.example.com login alice password correcthorse"),
    (
        "a private key",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nxcFG\n-----END PGP PRIVATE KEY BLOCK-----",
    ),
    ("a private key", "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA"),
    ("a GitHub or GitLab token", "glrt-" + "0123456789abcdefghij"),
    ("a registry token", "dckr_pat_" + "0123456789abcdefghij"),
    ("an Azure key", "abc8Q~" + "0123456789abcdefghijABCDEFGHIJ.xyz"),
    ("an Azure key", "https://x.example.com/c?sv=1&sig=" + "0123456789abcdefghijABCDEFGHIJxyz%3D"),
    ("a service's token", "dapi" + "0123456789abcdef" * 2),
    ("a service's token", "discord.com/api/webhooks/0123456789/" + "abcdefghij" * 4),
    ("an API key", "gsk_" + "0123456789abcdef" * 3),
    ("a password in a URL", "https://" + "0123456789abcdef" * 2 + "@github.com/owner/name"),
    ("a password in a URL", "postgres://alice:p@ss@word@db.internal/app"),
    ("a cookie", "Cookie: sessionid=0123456789abcdef"),
    ("an Authorization header", "Authorization: Bearer 0123456789abcdef"),
    ("a password or token", "password = 'correct horse'".replace(" horse", "-horse")),
    ("a password or token", 'AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG"'),
    ("a password or token", "DB_PASSWORD=hunter2hunter2"),
    ("a password or token", "api_key: 9f86d081884c7d65"),
]

HARMLESS = [
    "We decided to keep tokens in the keyring; the API key comes from a credential.",
    "token = parse_token(line)",
    "password: required, at least twelve characters",
    "Set password=$DB_PASSWORD in the unit",
    "secret = <from the vault>",
    "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "https://example.com/a:b@c",
    "git@github.com:owner/name.git",
    "max_tokens: 4096",
    "credential: file:/etc/cco/key1",
    "curl -u $USER:$PASSWORD https://example.com",
    "See http://127.0.0.1:3000/s/0123456789abcdef",
    "sk-learn is imported as sklearn",
    "sk-estimator-check-for-parameters is no key",
    "npm_config_some_very_long_setting_name_here=1",
    "Authorization: Bearer <your-token-here>",
    "Authorization: Bearer ${CCO_TOKEN}",
    "Authorization: Basic authentication is used",
    "postgres://USER:PASSWORD@HOST/db",
    "postgres://$USER:$PASSWORD@db/x",
    "https://{user}:{password}@host/",
    'credential = "/home/alice/.config/cco/anthropic.key1"',
    "token = self.tokens[0].value1",
    "api_key=settings.api_key2",
    "PRIMARY_KEY=user_id and MAX_TOKENS=4096",
    "TOKEN_FILE=/run/secrets/token1",
    "API_KEY=xxxxxxxxxxxxxxxxxxxx1",
    "PASSWORD=None",
    "DB_PASSWORD=$1",
    "550e8400-e29b-41d4-a716-446655440000",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA",
    "sha512-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ==",
    "mongodb://host1:27017,host2:27017/db",
]


@pytest.mark.parametrize(("kind", "text"), SECRETS)
def test_secrets_are_found_and_taken_out(kind: str, text: str) -> None:
    said = f"Mind this:\n{text}\nand go on"

    assert find_secret(said) == kind
    redacted = redact(said)
    assert find_secret(redacted) is None
    assert redacted.startswith("Mind this:")
    assert f"[{kind}, left out]" in redacted
    assert text not in redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert find_secret(text) is None
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "password", "eyJa.", "-----BEGIN PRIVATE KEY-----", "://:", "=", "A_", "AAAA_KEY"),
        *("curl -u a:", "login a ", "x@", "a://a:@", "cookie: a=", "<password>", "a1B8Q~", " "),
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """Time-outs of the suite would tell: a pattern that goes back over and over takes minutes."""
    redact(unit * (20_000 // len(unit)))
