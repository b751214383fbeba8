# SPDX-License-Identifier: Apache-2.0
"""How much two bodies say in the same words; pure.

Names are masked first, so that a template with its nouns swapped is found out: agents, tools of
Claude Code, languages and programs, and whatever stands in code font. Names in a row count as one.
"""

import re
from collections.abc import Iterable
from typing import Final

LINE: Final = 30
"""Shorter lines do not count."""
SHINGLE: Final = 5

_MASK: Final = "_"
_CODE: Final = re.compile(r"``.+?``|`[^`]+`")
_WORD: Final = re.compile(r"_|[a-z0-9][a-z0-9_+#.'-]*")
_NAMES: Final = """\
ada assembly awk bash c c# c++ clojure cobol cpp csharp css dart elixir erlang f# fortran go
golang graphql groovy haskell hcl html java javascript json jsx julia kotlin latex lua markdown
nix node node.js ocaml perl php powershell protobuf python r ruby rust scala sed shell sql swift
toml tsx typescript wasm webassembly xml yaml zig zsh dotnet
angular blade celery django echo eloquent express fastapi fastify fiber flask gin hono hugo
laravel livewire nestjs next.js nuxt phoenix pinia rails react redux remix solid spring
starlette svelte sveltekit symfony tailwind vue wordpress
ansible apache argo aws azure bazel bun caddy cargo cilium clang cmake composer compose consul
curl dagger debian deno docker emacs envoy gcc gcp gdb ghc git github gitlab gradle grafana
haproxy helm istio jenkins jq kafka kubernetes kustomize linux lldb llvm make maven meson
mongodb mypy mysql nats nginx ninja npm opentofu oracle pip pnpm podman poetry postgres
postgresql prometheus pulumi pytest rabbitmq redis ruff sbt sidekiq spark sqlite strace
systemd terraform trivy unity unreal uv valgrind valkey vault vite vitest webpack xcode yarn
android bevy cypress detekt eslint godot ios jest junit k6 locust pest phpstan
phpunit playwright rspec rubocop rustfmt selenium clippy tokio
"""
_MASKED: Final = frozenset(_NAMES.split())


def lines(body: str) -> frozenset[str]:
    """Return the lines that count, without the space around and inside that is no matter."""
    return frozenset(
        " ".join(line.split()) for line in body.splitlines() if len(line.strip()) > LINE
    )


def shingles(body: str, names: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Return every `SHINGLE` words in a row, names masked.

    Args:
        body: a text in Markdown.
        names: what is masked beside languages, programs and code.
    """
    text = _CODE.sub(f" {_MASK} ", body)
    if longest_first := sorted(names, key=len, reverse=True):
        named = "|".join(map(re.escape, longest_first))
        text = re.sub(rf"(?<![\w-])(?:{named})(?![\w-])", f" {_MASK} ", text)
    words: list[str] = []
    for found in _WORD.findall(text.lower()):
        word = found.rstrip(".'-")
        if word != _MASK and word not in _MASKED:
            words.append(word)
        elif words[-1:] != [_MASK]:
            words.append(_MASK)
    return frozenset(
        tuple(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)
    )


def share(one: frozenset[object], other: frozenset[object]) -> float:
    """Return which part of the smaller set the other one holds too."""
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0
