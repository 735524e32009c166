#!/usr/bin/env python3
"""Prints what our own C takes now for the steps whose vmm.*_instructions are marked "measured" (vmx-model/vmm_config.c), counted by callgrind, beside the keys' defaults.

    python3 analysis/path_lengths.py build/ringside

Each is what one call costs on the reference interpreter, all that it calls included, but for memory accesses: the VMM's handlers make those as events. The defaults are what was counted when
the keys were made, and do not follow: a simulator that becomes faster must give the same statistics. A ratio far from 1 says that our C has no longer the length of a plain monitor's path, not
that a default is wrong. Exit status: 0; 1: a run failed; 77: valgrind is not here, so nothing was measured.
"""
import collections
import json
import re
import shutil
import subprocess
import sys
import tempfile

STEPS = [  # key, function, workload, widths
    ("device_instructions", "machine_io_in", "in", (64,)),
    ("bt_reflect_instructions", "cpu_deliver", "divzero", (32, 64)),
    ("bt_return_instructions", "sys_iret", "divzero", (32, 64)),
]
MEMORY = re.compile(r"^(mem_|memory_|mmu_|event_|access_|stack_(read|write|push|pop)|phys_)")


def profile(ringside, workload, width):
    """callgrind's own output of one run."""
    with tempfile.NamedTemporaryFile(suffix=".callgrind") as out:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name, ringside, "run", "--workload", workload, "--width", str(width), "--set", "machine.core=functional", "--set", "machine.engine=switch"]
        run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit("path_lengths: " + " ".join(command) + " failed:\n" + run.stderr[-500:])
        return out.read().decode()


def calls_read(text):
    """(caller, callee) -> [calls, instructions with all that the callee calls]; names are without callgrind's suffixes for recursion."""
    names, edges, caller, callee, count = {}, collections.defaultdict(lambda: [0, 0]), None, None, None

    def name(field):
        number, _, word = field.partition(" ")
        if word:
            names[number] = word
        return re.sub(r"('\d+|\.(isra|part|constprop|cold)\.?\d*)+$", "", names[number])

    for line in text.splitlines():
        if line.startswith("fn="):
            caller = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            count = int(line[6:].split()[0])
        elif count is not None:
            edge = edges[caller, callee]
            edge[0] += count
            edge[1] += int(line.split()[1])
            count = None
    return edges


def defaults_read(ringside):
    """Key -> default, from the list of keys."""
    run = subprocess.run([ringside, "list", "keys", "--json"], stdout=subprocess.PIPE, check=True, text=True)
    found = ((entry["name"], re.search(r"default (\d+)\)$", entry["text"])) for entry in json.loads(run.stdout)["entries"])
    return {name: int(match.group(1)) for name, match in found if match}


def memory_below(edges, function, seen=()):
    """Instructions of memory accesses that one call of `function` makes, on the average, itself or below."""
    calls = sum(n for (_, callee), (n, _) in edges.items() if callee == function) or 1
    total = 0.0
    for (caller, callee), (n, cost) in edges.items():
        if caller != function or callee == function or callee in seen:
            continue
        total += cost if MEMORY.match(callee) else n * memory_below(edges, callee, seen + (function,))
    return total / calls


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    if not shutil.which("valgrind"):
        print("path_lengths: valgrind is not here: nothing was measured")
        sys.exit(77)
    defaults = defaults_read(sys.argv[1])
    print("%-28s %7s  %-14s %-8s %5s %6s %12s %14s %10s" % ("key", "default", "function", "workload", "width", "calls", "instructions", "without memory", "of default"))
    for key, function, workload, widths in STEPS:
        for width in widths:
            edges = calls_read(profile(sys.argv[1], workload, width))
            calls = sum(n for (_, callee), (n, _) in edges.items() if callee == function)
            cost = sum(c for (_, callee), (_, c) in edges.items() if callee == function)
            if not calls:
                sys.exit("path_lengths: %s was never called by %s: has it another name now?" % (function, workload))
            now, default = cost / calls - memory_below(edges, function), defaults["vmm." + key]
            print("%-28s %7d  %-14s %-8s %5d %6d %12.0f %14.0f %10.2f" % ("vmm." + key, default, function, workload, width, calls, cost / calls, now, now / default))


main()
