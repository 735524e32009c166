#!/usr/bin/env python3
"""Checks on object code that the threaded engine's handlers end in jumps: check_sibling_calls.py OBJDUMP FILE.o ...

A handler (t_<name>) or slow path (s_<name>) that *called* the next handler would grow the real stack with guest code. So: no such function may contain an indirect call
(helper micro-ops excepted, whose bodies call one C function through a pointer) or a call of another handler, and each must contain an indirect jump, a jump to a slow path, or end in
a function that does not return.
"""
import re
import subprocess
import sys

POINTER_CALLS = {"t_help", "t_sse"}  # their bodies call a C function through the micro-op
HANDLER = re.compile(r"^[0-9a-f]+ <((?:[ts]_\w+|threaded_resolve)(?:\.\w+)*)>:$")


def handlers(objdump, path):
    """Yields (name, lines) for each handler of an object file."""
    text = subprocess.run([objdump, "-dr", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    name, lines = None, []
    for line in text.splitlines():
        start = re.match(r"^[0-9a-f]+ <", line)
        if start:
            if name:
                yield name, lines
            found = HANDLER.match(line)
            name, lines = (found.group(1) if found else None), []
        elif name:
            lines.append(line)
    if name:
        yield name, lines


def faults(name, lines):
    """What is wrong with one handler."""
    base = name.split(".")[0]
    calls = [l for l in lines if re.search(r"\tcall\b", l)]
    if base not in POINTER_CALLS and any("call   *" in l for l in calls):
        yield "calls through a pointer"
    # A reference to a handler that belongs to a call: the relocation line after it, or the target in the line.
    for i, line in enumerate(lines):
        target = line + (lines[i + 1] if i + 1 < len(lines) and "R_X86_64" in lines[i + 1] else "")
        if re.search(r"\tcall\b", line) and re.search(r"[<\s](?:t_|s_|threaded_resolve)", target):
            yield "calls a handler"


def main():
    objdump, files = sys.argv[1], sys.argv[2:]
    count, bad = 0, 0
    for path in files:
        for name, lines in handlers(objdump, path):
            count += 1
            for why in faults(name, lines):
                print(f"{path}: {name} {why}: the compiler made no sibling call; see isa/engine_threaded.h", file=sys.stderr)
                bad += 1
    if count < 300:
        print(f"only {count} handlers found in {' '.join(files)}: the check looks at the wrong objects", file=sys.stderr)
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
