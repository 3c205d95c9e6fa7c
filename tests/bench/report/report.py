#!/usr/bin/env python3
"""Makes one JSON of a run's samples, and of that the page with tables and plots.

  report.py SAMPLES JSON PAGE [--quick] [--seconds N] [--note TEXT]... [--readme FILE]
  report.py JSON PAGE [--readme FILE]        the page again from the JSON of a run

SAMPLES has an object of JSON a line, as tests/bench/samples.h writes them. The plots go into a folder
beside the page that is named like it. A README beside that folder gets a short table. Whatever is on the page comes out of the JSON.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time

from cells import Cells, load
from page import page, verdicts
from plots import draw
from summary import put_into, summary
from targets import all_targets


def first_line(path, beginning=""):
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(beginning):
                    return line[len(beginning):].lstrip("\t :").strip()
    except OSError:
        pass
    return "unknown"


def rivals():
    """What is installed of those that are measured beside, with versions."""
    names = ("libboost1.74-dev", "libreaderwriterqueue-dev", "libiceoryx-posh-dev", "libzmq3-dev", "libnng-dev",
             "libgrpc++-dev")
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *names], capture_output=True,
                            text=True, check=False)
    return listed.stdout.rstrip(", ") or "unknown"


def machine():
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True,
                            check=False, cwd=os.path.dirname(os.path.abspath(__file__)))
    return {
        "processor": first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": first_line("/proc/meminfo", "MemTotal"),
        "virtual": "hypervisor" in first_line("/proc/cpuinfo", "flags").split(),
        "kernel": platform.system() + " " + platform.release(),
        "rivals": rivals(),
        "commit": commit.stdout.strip() or "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }


def write(path, text):
    """Whole or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as out:
        out.write(text)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--note", action="append", default=[])
    parser.add_argument("--readme")
    arguments = parser.parse_args()
    if len(arguments.files) == 3:
        samples, run_path, page_path = arguments.files
        run = {"machine": machine(), "quick": arguments.quick, "seconds": arguments.seconds,
               "notes": arguments.note, "samples": load(samples)}
        write(run_path, json.dumps(run, ensure_ascii=False, separators=(",", ":")) + "\n")
    elif len(arguments.files) == 2:
        run_path, page_path = arguments.files
        with open(run_path, encoding="utf-8") as written:
            run = json.load(written)
    else:
        parser.error("two or three files")
    cells = Cells(run["samples"])
    drawn = draw(cells, os.path.splitext(page_path)[0])
    write(page_path, page(run, cells, drawn))
    if arguments.readme:
        put_into(arguments.readme, summary(run, cells, drawn, os.path.dirname(page_path)))
    print(verdicts(list(all_targets(cells)), cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
