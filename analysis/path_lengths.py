#!/usr/bin/env python3
"""Prints the instruction counts that the keys vmm.*_instructions marked "measured" rest on (vmx-model/vmm_config.c): our own C for the same step, counted by callgrind.

    python3 analysis/path_lengths.py build/ringside

Each is what one call costs, all that it calls included, but for memory accesses: the VMM's handlers make those as events. Exit status: 0; 77: valgrind is not here, so nothing was measured.
"""
import collections
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
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name, ringside, "run", "--workload", workload, "--width", str(width), "--set", "machine.core=functional"]
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
    print("%-26s %-16s %-10s %5s %8s %14s %14s" % ("key", "function", "workload", "width", "calls", "instructions", "without memory"))
    for key, function, workload, widths in STEPS:
        for width in widths:
            edges = calls_read(profile(sys.argv[1], workload, width))
            calls = sum(n for (_, callee), (n, _) in edges.items() if callee == function)
            cost = sum(c for (_, callee), (_, c) in edges.items() if callee == function)
            if not calls:
                sys.exit("path_lengths: %s was never called by %s: has it another name now?" % (function, workload))
            print("%-26s %-16s %-10s %5d %8d %14.0f %14.0f" % ("vmm." + key, function, workload, width, calls, cost / calls, cost / calls - memory_below(edges, function)))


main()
