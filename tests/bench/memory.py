# SPDX-License-Identifier: Apache-2.0
"""What the daemon's processes take of the memory, their share of what is shared counted (PSS)."""

from pathlib import Path

from cco.cli.service import Service


def show_memory(service: Service) -> None:
    """Print the PSS of each process of the daemon, and of all of them."""
    supervisor = service.supervisor()
    if supervisor is None:
        return
    total = 0.0
    for pid in [supervisor, *_descendants(supervisor)]:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except PermissionError:
            print(f"  {command[3]}: only root may look")
            continue
        mb = next(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:") / 1024
        total += mb
        print(f"  {' '.join(command[2:4]):<40} {mb:13.1f} MB")
    print(f"  {'all':<40} {total:13.1f} MB", flush=True)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [one for child in children for one in (int(child), *_descendants(int(child)))]
