#!/usr/bin/env python3
"""Runs the byte-level fuzz targets for a given time each, side by side, and reports what that came to.

    proofs/fuzz/run.py --seconds 3600              all of them
    proofs/fuzz/run.py --seconds 60 resp rdb       some of them
    proofs/fuzz/run.py --report                    the table of the last run, also while it is going on

The corpora grow in proofs/fuzz/corpus, findings go to proofs/fuzz/artifacts, logs and report.json to the directory
given by --logs. Exits with 1 if there is a finding. Needs cargo-fuzz; what follows `--` goes to `cargo fuzz build`
and has to come last (`-- --sanitizer none`).
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = ["resp", "rdb", "dump", "psync", "replica", "stream"]
LONGEST_INPUT_BYTES = 16 << 10
# What libFuzzer says while it runs, and at its end.
PROGRESS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
EXECUTIONS = re.compile(r"^stat::number_of_executed_units:\s+(\d+)")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: " + " ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="wall time of each target (default: 60)")
    parser.add_argument("--logs", type=pathlib.Path, default=HERE / "target" / "runs", metavar="DIR")
    parser.add_argument("--toolchain", default="nightly", help="default: nightly")
    parser.add_argument("--rss-limit-mb", type=int, default=2048)
    parser.add_argument("--nice", type=int, default=19)
    parser.add_argument("--report", action="store_true", help="run nothing, read the logs")
    arguments, options = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    given = parser.parse_args(arguments)
    unknown = set(given.targets) - set(TARGETS)
    if unknown or given.seconds < 1:
        parser.error(f"no such target: {', '.join(sorted(unknown))}" if unknown else "--seconds is at least 1")
    given.targets = given.targets or TARGETS
    given.options = options
    return given


def cargo(*command, toolchain=None, **options):
    """Runs cargo; its failure ends this program."""
    prefix = ["cargo"] + ([f"+{toolchain}"] if toolchain else [])
    done = subprocess.run([*prefix, *command], cwd=HERE.parent.parent, **options)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join([*prefix, *command])}")
    return done


def build(given):
    """Builds the targets and writes their seeds; returns the directory of the programs."""
    cargo("run", "--quiet", "--package", "replcore-proofs", "--example", "fuzz-inputs", "--", str(HERE / "target" / "inputs"))
    fuzz = ["fuzz", "build", "--fuzz-dir", str(HERE), *given.options]
    for target in given.targets:
        cargo(*fuzz, target, toolchain=given.toolchain)
    host = re.search(r"^host: (.+)$", subprocess.check_output(["rustc", "-vV"], text=True), re.MULTILINE)
    return HERE / "target" / host[1] / "release"


def fuzz(target, programs, given, results):
    """Runs one target in one process; notes its times, which the process itself does not tell."""
    corpus, artifacts, inputs = HERE / "corpus" / target, HERE / "artifacts" / target, HERE / "target" / "inputs"
    for directory in (corpus, artifacts):
        directory.mkdir(parents=True, exist_ok=True)
    command = [
        str(programs / target),
        str(corpus),
        str(inputs / target),
        f"-dict={inputs / target}.dict",
        f"-artifact_prefix={artifacts}/",
        f"-max_total_time={given.seconds}",
        f"-rss_limit_mb={given.rss_limit_mb}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        "-timeout=25",
        "-print_final_stats=1",
    ]
    start = time.monotonic()
    with open(given.logs / f"{target}.log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=lambda: os.nice(given.nice)
        )
        (given.logs / f"{target}.pid").write_text(f"{process.pid}\n")
        _, status, usage = os.wait4(process.pid, 0)
    results[target] = {
        "exit_status": os.waitstatus_to_exitcode(status),
        "wall_s": round(time.monotonic() - start),
        "cpu_s": round(usage.ru_utime + usage.ru_stime),
        "peak_memory_mb": usage.ru_maxrss >> 10,
    }
    (given.logs / f"{target}.json").write_text(json.dumps(results[target]))


def summary(target, logs):
    """What the log of a target says, and the times if it has ended."""
    row = {"target": target, "executions": 0, "coverage": 0, "features": 0, "corpus": 0, "findings": []}
    for line in (logs / f"{target}.log").read_text(errors="replace").splitlines():
        if found := PROGRESS.match(line):
            row.update(zip(("executions", "coverage", "features", "corpus"), map(int, found.groups())))
        elif found := EXECUTIONS.match(line):
            row["executions"] = int(found[1])
        elif "Test unit written to" in line:
            row["findings"].append(line.rsplit(" ", 1)[1])
    ended = logs / f"{target}.json"
    row["ended"] = ended.exists()
    if row["ended"]:
        row.update(json.loads(ended.read_text()))
    return row


def show(rows):
    print("| target | executions | per CPU second | edges | features | corpus | wall | CPU | findings |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---|")
    for row in rows:
        wall, cpu = (f"{row['wall_s']} s", f"{row['cpu_s']} s") if row["ended"] else ("running", "")
        rate = f"{row['executions'] / max(row['cpu_s'], 1):,.0f}" if row["ended"] else ""
        failed = row["ended"] and row["exit_status"] != 0 and not row["findings"]
        findings = f"exit status {row['exit_status']}" if failed else ", ".join(row["findings"]) or "none"
        numbers = [row["executions"], rate, row["coverage"], row["features"], row["corpus"]]
        cells = [f"{number:,}" if isinstance(number, int) else number for number in numbers]
        print("| " + " | ".join([row["target"], *cells, wall, cpu, findings]) + " |")


def main():
    given = parse()
    if not given.report:
        given.logs.mkdir(parents=True, exist_ok=True)
        programs = build(given)
        for target in given.targets:
            (given.logs / f"{target}.json").unlink(missing_ok=True)
        results = {}
        threads = [threading.Thread(target=fuzz, args=(t, programs, given, results)) for t in given.targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    known = [target for target in given.targets if (given.logs / f"{target}.log").exists()]
    if not known:
        sys.exit(f"no logs in {given.logs}")
    rows = [summary(target, given.logs) for target in known]
    (given.logs / "report.json").write_text(json.dumps(rows, indent=2) + "\n")
    show(rows)
    return 1 if any(row["findings"] or row.get("exit_status", 0) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
