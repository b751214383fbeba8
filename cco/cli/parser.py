# SPDX-License-Identifier: Apache-2.0
"""The command line, described; imports argparse and nothing else, so manual pages build from it."""

import argparse
from typing import Any, Final, NoReturn

COMMANDS: Final = (
    "run",
    "daemon",
    "agents",
    "route",
    "invoke",
    "knowledge",
    "stats",
    "cache",
    "sessions",
    "tui",
    "unseal",
    "config",
    "doctor",
    "demo",
    "export",
    "statusline",
    "completion",
    "version",
    "help",
)
"""The first words that are CCO's own; to build the parser for them costs a launch 12 ms."""

CLAUDE_WORDS: Final = ("agents", "config", "doctor")
"""Commands of ours that Claude Code has too; after ``--`` they are Claude Code's."""

KNOWLEDGE_TYPES: Final = (
    *("decision", "architecture", "configuration"),
    *("issue", "implementation", "completion"),
)

EPILOG: Final = """\
Every argument that is not a command of CCO's goes to Claude Code unchanged:
  cco -p "explain this repository"        launch with a prompt
  cco --resume                            resume a conversation
  cco -- agents                           Claude Code's own 'agents'

Words that both know are CCO's: agents, config, doctor. Put -- before them for Claude Code's.
"""


def _count(text: str) -> int:
    """Return a number that is not negative; argparse tells of others."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than none")
    return number


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves as much room for the longest command as for the longest option."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as below
            longest = max(map(len, action.choices))
            # Commands stand one level further in than argparse measures.
            self._action_max_length = max(self._action_max_length, longest + 4)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with a command line as all errors are told, and of which command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        if rest:  # else the outermost parser would complain, and point at its own help
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        words = self.prog.split()
        help_line = " ".join([words[0], "help", *words[1:]])
        self.exit(2, f"cco: {message.removeprefix('argument ')}\n     See: {help_line}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of CCO's own commands."""
    parser: argparse.ArgumentParser = _Parser(
        prog="cco",
        description="Claude Code with a team of agents, an honest gateway and a ledger.",
        epilog=EPILOG,
        formatter_class=_Formatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_daemon(commands)
    _add_agents(commands)
    _add_route(commands)
    _add_invoke(commands)
    _add_knowledge(commands)
    _add_reports(commands)
    _add_tui(commands)
    unseal = _add(
        commands, "unseal", "print a sealed file's plaintext JSON", "cco unseal agents | jq keys"
    )
    unseal.add_argument("name", choices=("agents", "orchestrator", "hooks"))
    config = _add(
        commands,
        "config",
        "show or check the settings",
        "cco config                       every setting, and where its value comes from",
        "cco config check                 exit 1 and the line to mend, if there is one",
    )
    config.add_argument("action", nargs="?", default="show", choices=("show", "check", "path"))
    _add_json(config)
    _add_json(_add(commands, "doctor", "find what is wrong here, and the command that mends it"))
    demo = _add(commands, "demo", "show everything at work, with no account and no network")
    demo.add_argument("--prompt", help="what to ask Claude Code instead of the usual")
    export = _add(
        commands,
        "export",
        "write figures, requests or knowledge as a table or as JSON",
        "cco export requests --format csv -o requests.csv",
        "cco export stats --since 30d --format json | jq .cost",
        "cco export knowledge --format json     of this project",
    )
    export.add_argument("what", choices=("stats", "requests", "knowledge"))
    export.add_argument("--format", choices=("csv", "json"), required=True, help="its form")
    export.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="where to; - is standard output (-)"
    )
    export.add_argument(
        "--project", metavar="PATH", help="only this project; default is all, of knowledge this one"
    )
    export.add_argument("--since", metavar="TIME", help="only from this time on, as for cco stats")
    _add(
        commands,
        "statusline",
        "be Claude Code's status line: its JSON on standard input, one line out",
        "cco statusline < /dev/null       how it looks",
        "In ~/.claude/settings.json:",
        '  "statusLine": {"type": "command", "command": "cco statusline"}',
    )
    completion = _add(
        commands,
        "completion",
        "print what a shell needs to complete commands of cco",
        'eval "$(cco completion bash)"                 in ~/.bashrc',
        'eval "$(cco completion zsh)"                  in ~/.zshrc, behind compinit',
        "cco completion fish > ~/.config/fish/completions/cco.fish",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    version = _add(commands, "version", "show the version")
    _add_json(version)
    words = _add(commands, "help", "show this help, or that of a command", "cco help daemon logs")
    words.add_argument("words", nargs="*", metavar="COMMAND", help="such as: stats, or daemon logs")
    return parser


def next_words(command: str) -> tuple[str, ...]:
    """Return the words that one of `COMMANDS` may be followed by; none if by any."""
    for action in _subparsers(build_parser())[command]._actions:  # noqa: SLF001 - as below
        if action.choices is not None and not action.option_strings:
            return tuple(action.choices)
    return ()


def help_text(*words: str) -> str | None:
    """Return the help of CCO, or of a command and its verb; None where there is no such one."""
    parser = build_parser()
    for word in words:
        inner = _subparsers(parser)
        if word not in inner:
            return None
        parser = inner[word]
    return parser.format_help()


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            return dict(action.choices)
    return {}


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    words: str,
    *examples: str,
) -> argparse.ArgumentParser:
    """Add a command; `examples` are command lines, with what they do behind them if need be."""
    return commands.add_parser(
        name,
        help=words,
        description=f"{words[0].upper()}{words[1:]}.",
        epilog="\n".join(["Examples:", *(f"  {line}" for line in examples)]) if examples else None,
        formatter_class=_Formatter,
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _add(
        commands,
        "run",
        "launch Claude Code in the current directory",
        "cco run -p 'explain this repository'",
        "cco run --dry-run                argv, environment and files, nothing started",
        "cco run --direct --resume        plain Claude Code, without the daemon",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="print what would be launched, and launch nothing"
    )
    run.add_argument("--direct", action="store_true", help="launch plain Claude Code, without CCO")
    run.add_argument("--project", metavar="PATH", help="directory to launch in")
    run.add_argument(
        "--agents",
        metavar="GROUP,…",
        help="groups or categories of agents that the session sees, instead of [agents] groups",
    )
    run.add_argument("arguments", nargs="*", metavar="ARG", help="given to Claude Code")


def _add_daemon(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    daemon = _add(
        commands,
        "daemon",
        "control the background service",
        "cco daemon status",
        "cco daemon logs --follow",
        "cco daemon reload                after a change of the settings or of an agent",
    )
    verbs = daemon.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add(verbs, "start", "start it, and wait until it serves")
    _add(verbs, "stop", "stop it, sockets and mount too")
    _add(verbs, "restart", "stop it and start it again")
    _add(verbs, "reload", "read settings and agents again, cutting nothing")
    enable = _add(verbs, "enable", "start it at login, or at boot for one chosen login")
    disable = _add(verbs, "disable", "take that back")
    for verb in (enable, disable):
        verb.add_argument("--system", action="store_true", help="the system's daemon (as root)")
        verb.add_argument(
            "--user", metavar="NAME", help="the login that the system's daemon serves"
        )
    _add(verbs, "run", "supervise it in the foreground, on hosts without systemd")
    _add_json(_add(verbs, "status", "say how it is; exit 0 running, 3 stopped, 1 ailing"))
    logs = _add(verbs, "logs", "show its log")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what comes")
    logs.add_argument("-n", "--lines", type=_count, default=50, metavar="N", help="lines (50)")
    logs.add_argument("--since", metavar="TIME", help="only from this time on, as for cco stats")


def _add_agents(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    agents = _add(
        commands,
        "agents",
        "list, show, check or evaluate the agents",
        "cco agents",
        "cco agents show 'Chief Architect'",
        "cco agents check my-agent.md     exit 1, with file and line of each problem",
    )
    verbs = agents.add_subparsers(dest="verb", metavar="VERB")
    _add_json(agents)
    _add_json(_add(verbs, "list", "list the agents"))
    show = _add(verbs, "show", "show one agent")
    show.add_argument("name", metavar="NAME", help="its name or slug")
    _add_json(show)
    check = _add(verbs, "check", "validate definitions; names file and line of what is wrong")
    check.add_argument("path", nargs="?", metavar="PATH", help="a file or directory")
    _add_json(check)
    evaluate = _add(
        verbs,
        "eval",
        "ask agents their evaluation tasks and a judge about the answers; costs money, asks first",
        "cco agents eval go-specialist",
    )
    evaluate.add_argument("names", nargs="*", metavar="NAME", help="agents; default is all")
    evaluate.add_argument("--yes", action="store_true", help="spend the money without asking")
    _add_json(evaluate)


def _add_route(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    route = _add(
        commands,
        "route",
        "say which agents a task is for, and why",
        'cco route "our PostgreSQL gets slow at noon"',
    )
    route.add_argument("task", metavar="TASK", help="what is to be done")
    _add_json(route)


def _add_invoke(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    invoke = _add(
        commands,
        "invoke",
        "ask one agent, print its answer",
        "cco invoke chief-architect 'Design the authentication flow'",
        "git diff | cco invoke code-reviewer 'Review this change' --context -",
        "cco invoke auto 'Find out why this query is slow' --context query.sql",
    )
    invoke.add_argument(
        "agent", metavar="AGENT", help="its name or slug, or auto for the one that fits the task"
    )
    invoke.add_argument("task", metavar="TASK", help="what it is to do")
    invoke.add_argument("--context", metavar="FILE", help="text to work on; - is standard input")
    invoke.add_argument(
        "--no-cache", action="store_true", help="ask again, also what was answered before"
    )
    _add_json(invoke)


def _add_tui(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tui = _add(
        commands,
        "tui",
        "show the dashboard: cost, requests, agents, sessions, as they happen",
        "cco tui                          all projects; ? shows the keys",
        "cco tui --project .              this one only",
    )
    tui.add_argument("--project", metavar="PATH", help="only this project; default is all")


def _add_reports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    stats = _add(
        commands,
        "stats",
        "show cost and tokens",
        "cco stats                        everything, by model",
        "cco stats --by day --since 7d    the last week, day by day",
        "cco stats --project . --by agent",
    )
    stats.add_argument("--project", metavar="PATH", help="only this project; default is all")
    stats.add_argument(
        "--since",
        metavar="TIME",
        help="only from this time on: RFC 3339, a date, or a span such as 7d, 24h, 30m",
    )
    stats.add_argument(
        "--by",
        choices=("model", "agent", "session", "day"),
        default="model",
        help="what a row is (model)",
    )
    _add_json(stats)
    cache = _add(
        commands,
        "cache",
        "show what the response cache did, or empty it",
        "cco cache stats",
    )
    verbs = cache.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_json(_add(verbs, "stats", "show what it keeps, and what that saved"))
    _add_json(_add(verbs, "clear", "forget all answers; asks first on a terminal"))
    sessions = _add(commands, "sessions", "list the live sessions")
    _add_json(sessions)


def _add_knowledge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    knowledge = _add(
        commands,
        "knowledge",
        "store, search and forget facts of a project",
        "cco knowledge store 'Money is kept in cents, as integers'",
        "git log -1 --format=%B | cco knowledge store --type implementation -",
        "cco knowledge search 'how is money kept'",
        "cco knowledge forget 12 13",
    )
    knowledge.description = (
        "Store, search and forget facts of a project; its sessions are told of them. This is the\n"
        "one place where CCO keeps text of sessions: what you store, short reports of agents, and\n"
        "what a compaction must not lose. It lies in knowledge.db beside the ledger, readable by\n"
        "you alone; [knowledge] enabled = false, also in a project's .cco.toml, turns it off."
    )
    verbs = knowledge.add_subparsers(dest="verb", metavar="VERB", required=True)
    store = _add(verbs, "store", "keep a fact; what looks like a secret is refused")
    store.add_argument("text", metavar="TEXT", help="what is known; - is standard input")
    search = _add(verbs, "search", "find facts by words, the best first")
    search.add_argument("query", metavar="QUERY", help="any words")
    listing = _add(verbs, "list", "list facts, the newest first")
    stats = _add(verbs, "stats", "show how much is kept")
    forget = _add(verbs, "forget", "remove facts for good; asks before it removes more than one")
    forget.add_argument("id", nargs="*", type=int, metavar="ID", help="as the list shows them")
    forget.add_argument(
        "--all", action="store_true", help="all of the project, with what is kept of its sessions"
    )
    forget.add_argument("--yes", action="store_true", help="do not ask")
    for verb in (store, search, listing, stats, forget):
        verb.add_argument("--project", metavar="PATH", help="another project than this one")
        _add_json(verb)
    for verb in (search, listing):
        verb.add_argument("--limit", type=int, default=20, metavar="N", help="facts at most (20)")
    for verb, default in ((store, "decision"), (search, None), (listing, None)):
        verb.add_argument(
            "--type",
            choices=KNOWLEDGE_TYPES,
            default=default,
            help="what kind of fact it is (decision)" if default else "only facts of this type",
        )
