/* Where things lie in the guest of random_guest.S; also for the assembler. */
#ifndef TESTS_RANDOM_GUEST_H
#define TESTS_RANDOM_GUEST_H
#define RANDOM_CODE 0x400000        /* the program; 64 KiB, for users, writable */
#define RANDOM_ENTRY 0x100          /* its first instruction, from there */
#define RANDOM_DATA 0x500000
#define RANDOM_DATA_BYTES 0x4000    /* in the checksum, and what generated addresses point to; as much again, four times, behind it */
#define RANDOM_ABSENT 0x510000      /* four pages: absent, read-only, of the supervisor, absent */
#define RANDOM_EDIT 0x600000        /* pages whose entries programs change */
#define RANDOM_EDIT_PAGES 8
#define RANDOM_PT32 0x210000        /* entries of 4 bytes, from page 0 on */
#define RANDOM_PT64 0x218000        /* of 8 bytes: PAE and long mode */
#endif
