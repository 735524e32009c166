#!/usr/bin/env python3
"""Checks on object code that the threaded engine's handlers end in jumps: check_sibling_calls.py OBJDUMP FILE.o ...

A handler (t_<name>) or slow path (s_<name>) that *called* the next one would grow the real stack with guest code. So no such function may contain an indirect call (but for the
helper micro-ops, whose bodies call one C function through a pointer) or a call of another handler.
"""
import re
import subprocess
import sys

POINTER_CALLS = {"t_help", "t_sse"}  # their bodies call a C function through the micro-op
LEAST_HANDLERS = 300  # an object file has; fewer means that the check looks at the wrong thing
FUNCTION = re.compile(r"^([0-9a-f]+) <(\S+)>:$")
HANDLER = re.compile(r"^([ts]_\w+|threaded_resolve)(\.\w+)*$")
RELOCATION = re.compile(r"R_X86_64_\w+\t(\.?[\w.]+)([+-]0x[0-9a-f]+)?")
TARGET = re.compile(r"\tcall\s+[0-9a-f]+ <([^>+]+)(\+0x[0-9a-f]+)?>")


def functions(objdump, path):
    """{(section, address): name} and {name: [(line, relocation line or '')]} of an object file."""
    text = subprocess.run([objdump, "-dr", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    starts, bodies, section, body = {}, {}, "", None
    for line in text.splitlines():
        if line.startswith("Disassembly of section "):
            section = line.split()[-1].rstrip(":")
        found = FUNCTION.match(line)
        if found:
            starts[section, int(found.group(1), 16)] = found.group(2)
            body = bodies.setdefault(found.group(2), [])
        elif body is not None and "R_X86_64" in line and body:
            body[-1] = (body[-1][0], line)
        elif body is not None:
            body.append((line, ""))
    return starts, bodies


def called(starts, line, relocation):
    """The name of the function that a call instruction calls; '*' through a pointer."""
    if re.search(r"\tcall\s+\*", line):
        return "*"
    found = RELOCATION.search(relocation)
    if not found:
        found = TARGET.search(line)
        return found.group(1) if found and not found.group(2) else ""
    name, addend = found.group(1), int(found.group(2) or "0", 16)
    # A call inside the file is relative to its section; the addend is 4 less than the address (the processor counts from the next instruction).
    return starts.get((name, addend + 4), name) if name.startswith(".") else name


def main():
    objdump, files = sys.argv[1], sys.argv[2:]
    bad = 0
    for path in files:
        starts, bodies = functions(objdump, path)
        handlers = [n for n in bodies if HANDLER.match(n)]
        if len(handlers) < LEAST_HANDLERS:
            print(f"{path}: only {len(handlers)} handlers found: the check looks at the wrong file", file=sys.stderr)
            bad += 1
        for name in handlers:
            for line, relocation in bodies[name]:
                if not re.search(r"\tcall\b", line):
                    continue
                callee = called(starts, line, relocation)
                if HANDLER.match(callee) or (callee == "*" and name.split(".")[0] not in POINTER_CALLS):
                    print(f"{path}: {name} calls {'through a pointer' if callee == '*' else callee}: the compiler made no sibling call (isa/engine_threaded.h)", file=sys.stderr)
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
