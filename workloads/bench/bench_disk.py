#!/usr/bin/env python3
"""Makes a bootable raw disk from a boot sector and a Multiboot ELF32 image linked at 1 MiB: bench_disk.py BOOT.bin IMAGE.elf DISK.img"""
import struct
import sys

BASE = 0x100000
CYLINDER = 16 * 63 * 512  # Bochs wants whole cylinders of 16 heads x 63 sectors


def flat(elf):
    """The image's loadable segments as bytes from BASE, and its entry point."""
    if elf[:5] != b"\x7fELF\x01":
        sys.exit(f"{sys.argv[2]}: not an ELF32 file")
    entry, phoff = struct.unpack_from("<II", elf, 24)
    phentsize, phnum = struct.unpack_from("<HH", elf, 42)
    image = bytearray()
    for i in range(phnum):
        kind, offset, _, paddr, filesz = struct.unpack_from("<IIIII", elf, phoff + i * phentsize)
        if kind != 1 or not filesz:
            continue
        start = paddr - BASE
        if start < 0:
            sys.exit(f"{sys.argv[2]}: a segment lies below 1 MiB")
        image.extend(bytes(max(0, start + filesz - len(image))))
        image[start:start + filesz] = elf[offset:offset + filesz]
    return bytes(image), entry


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    boot = bytearray(open(sys.argv[1], "rb").read())
    image, entry = flat(open(sys.argv[2], "rb").read())
    sectors = (len(image) + 511) // 512
    if sectors > 0x70000 // 512:
        sys.exit(f"{sys.argv[2]}: {len(image)} bytes do not fit below 512 KiB")
    struct.pack_into("<HI", boot, 0x1F0, sectors, entry)
    disk = bytes(boot) + image
    disk += bytes(-len(disk) % CYLINDER)
    open(sys.argv[3], "wb").write(disk)


main()
