#!/usr/bin/env python3
"""Applies deliberate bugs to the product, one at a time, and asks the proofs' quick tier to catch each.

The bugs are the patches beside this file. They were chosen from the product's code alone, without a look at what the
proofs look at. Work is done on the last commit, in a checkout of its own with its own builds (replcore-bugs in the
directory for temporary files; logs in target/bugs): changes that are not committed are not seen, and yours are not touched. The unpatched tree runs first and has to be
green, or no failure would mean anything.

exit status: 0 if every bug was caught, 1 if one was missed, 2 if something could not be tried
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
WORK = REPO / "target" / "bugs"
# Not below the repository, where cargo would read its configuration twice and join the lists in it.
TREE = Path(tempfile.gettempdir()) / "replcore-bugs"
PROVE = ["cargo", "prove", "--tier", "quick", "--fail-fast", "--no-controls"]

# What a proof says of itself when something is wrong. Other words (exhausted, bounded, sampled ...) are no failures.
BAD_VERDICTS = {"failed", "vacuous", "missed", "broken", "error", "panicked", "timeout"}
BROKE = 1


class CannotTry(Exception):
    """The bug, or the tree without it, cannot be put to the test: that is no catch."""


@dataclass
class Bug:
    """A patch, what its header says, and what became of it."""

    path: Path
    module: str
    breaks: str
    when: str
    verdict: str = "not run"
    catchers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    @property
    def name(self) -> str:
        return self.path.stem


def read_bug(path: Path) -> Bug:
    header = path.read_text(encoding="utf-8").split("\ndiff --git ", 1)[0]
    found = dict(re.findall(r"^(Module|Breaks|When): (.*(?:\n  .*)*)", header, re.MULTILINE))
    fields = [" ".join(found.get(key, "").split()) for key in ("Module", "Breaks", "When")]
    if not all(fields):
        raise CannotTry(f"{path.name}: its header has to say Module, Breaks and When")
    return Bug(path, *fields)


def selected(names: list[str]) -> list[Bug]:
    bugs = [read_bug(path) for path in sorted(HERE.glob("*.patch"))]
    for name in names:
        if not any(name in bug.name for bug in bugs):
            raise CannotTry(f"no bug is called '{name}' (see --list)")
    return [bug for bug in bugs if not names or any(name in bug.name for name in names)]


def shown(path: Path) -> Path:
    """As it may stand in a report: without what is particular to this machine."""
    return path.relative_to(REPO)


def git(*args: str, tree: Path) -> str:
    done = subprocess.run(["git", "-C", str(tree), *args], capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotTry(f"git {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout() -> str:
    """Makes the scratch checkout, or brings it to the last commit; builds from before stay. Returns the commit."""
    commit = git("rev-parse", "HEAD", tree=REPO)
    if not TREE.exists():
        # By force: it may have been there, and gone with the target directory.
        git("worktree", "add", "--quiet", "--force", "--detach", str(TREE), commit, tree=REPO)
    git("checkout", "--quiet", "--force", "--detach", commit, tree=TREE)
    peers = TREE / "target" / "peers"
    if (REPO / "target" / "peers").is_dir() and not peers.exists():
        # The live tests' servers, which are fetched once.
        peers.parent.mkdir(exist_ok=True)
        peers.symlink_to(REPO / "target" / "peers")
    return commit


def run(command: list[str], log: Path, timeout_s: float) -> int:
    """Runs a command in the scratch checkout with its output in `log`; with its children it is gone afterwards."""
    env = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    with log.open("a", encoding="utf-8") as out:
        print("$", *command, file=out, flush=True)
        child = subprocess.Popen(command, cwd=TREE, env=env, stdout=out, stderr=out, start_new_session=True)
        try:
            return child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise CannotTry(f"no end after {timeout_s:.0f} s, see {shown(log)}") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def broken_rows(report: object, table: str) -> list[str]:
    """The proofs that failed, in its order: from the report, whichever list has them, else from the table."""
    lists = report if isinstance(report, dict) else {}
    ordered = [lists.get("rows"), *lists.values()]
    rows = [row for rows in ordered if isinstance(rows, list) for row in rows if isinstance(row, dict)]
    names = []
    for row in rows:
        if str(row.get("verdict", "")).lower() in BAD_VERDICTS:
            name = row.get("name") or row.get("model") or row.get("title") or "a proof without a name"
            names.append(" ".join(filter(None, [str(name), row.get("mutation")])))
    if not names:
        lines = (line.strip() for line in table.splitlines())
        names = [line for line in lines if BAD_VERDICTS & set(re.findall(r"\w+", line.lower()))][:1]
    return list(dict.fromkeys(names))


def prove(name: str, args: argparse.Namespace) -> list[str]:
    """Runs the quick tier on the scratch checkout as it is. Returns what failed; nothing if it is green."""
    log, file = WORK / f"{name}.log", WORK / f"{name}.json"
    log.unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    # The build first: a tree that does not build is no catch, and cargo's status would be that of a proof that broke.
    # The tests that the proofs run are built by the program, which has a status of its own for those that do not compile.
    if run(["cargo", "prove", "--help"], log, args.timeout) != 0:
        raise CannotTry(f"it does not build, see {shown(log)}")
    if args.build_only:
        return []
    before = log.stat().st_size
    status = run([*PROVE, "--json", str(file), *args.prove_args.split()], log, args.timeout)
    if status not in (0, BROKE):
        raise CannotTry(f"the proofs did not run (exit status {status}), see {shown(log)}")
    if status == 0:
        return []
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        report = None
    table = log.read_bytes()[before:].decode("utf-8", "replace").split("\n", 1)[-1]
    return broken_rows(report, table) or [f"exit status {status}, see {shown(log)}"]


def attempt(bug: Bug, args: argparse.Namespace) -> None:
    started = time.monotonic()
    try:
        git("apply", str(bug.path), tree=TREE)
        bug.catchers = prove(bug.name, args)
        bug.verdict = "builds" if args.build_only else "caught" if bug.catchers else "MISSED"
    except CannotTry as error:
        bug.verdict, bug.error = "ERROR", str(error)
    finally:
        git("checkout", "--quiet", "--force", "HEAD", tree=TREE)
        bug.seconds = round(time.monotonic() - started, 1)
    print(f"{bug.name:42} {bug.verdict:7} {bug.seconds:7.1f} s  {bug.error or ''.join(bug.catchers[:1])}", flush=True)


def markdown(bugs: list[Bug]) -> str:
    rows = [("bug", "module", "breaks", "caught by", "s"), ("---",) * 4 + ("---:",)]
    for bug in bugs:
        catcher = bug.catchers[0] if bug.catchers else f"**{bug.verdict}** {bug.error}".strip()
        rows.append((bug.name, bug.module, bug.breaks, catcher, f"{bug.seconds:.0f}"))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only bugs whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="say which bugs there are, and run nothing")
    parser.add_argument("--build-only", action="store_true", help="only see whether each bug applies and builds")
    parser.add_argument("--keep-going", action="store_true", help="go on after a bug that was missed or not tried")
    parser.add_argument("--prove-args", default="", metavar="ARGS", help="further arguments for `cargo prove`")
    parser.add_argument("--timeout", type=float, default=3600, metavar="S", help="for one run, in s (default 3600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what became of each bug")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it as a table")
    return parser.parse_args()


def main() -> int:
    args = parse()
    bugs = selected(args.names)
    if args.list:
        print(*(f"{bug.name:42} {bug.module:24} {bug.breaks}" for bug in bugs), sep="\n")
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    commit, started = checkout(), time.monotonic()
    if failed := prove("unpatched", args):
        raise CannotTry(f"the tree without a bug is not green: {failed[0]}")
    baseline_s = round(time.monotonic() - started, 1)
    print(f"{'(no bug)':42} {'green':7} {baseline_s:7.1f} s", flush=True)
    good = "builds" if args.build_only else "caught"
    for bug in bugs:
        attempt(bug, args)
        if bug.verdict != good and not args.keep_going:
            break
    if args.json:
        rows = [{"name": bug.name, **asdict(bug), "path": str(shown(bug.path))} for bug in bugs]
        report = {"commit": commit, "prove_args": args.prove_args, "baseline_seconds": baseline_s, "bugs": rows}
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text(markdown(bugs), encoding="utf-8")
    verdicts = [bug.verdict for bug in bugs]
    print(f"{verdicts.count(good)} of {len(bugs)} {'build' if args.build_only else 'caught'}")
    return 2 if "ERROR" in verdicts else 0 if all(verdict == good for verdict in verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotTry as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
