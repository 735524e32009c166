/*
 * A boot sector that starts a Multiboot 1 image on a PC without a Multiboot loader, so that `ringside bench` can run the same image on Bochs.
 *
 * The disk: this sector, then the image as a flat binary linked at 1 MiB (objcopy -O binary). bench_disk.py fills `sectors` and `entry`.
 * It reads the image to 0x10000 by INT 13h extensions, enters protected mode, copies it to 1 MiB and jumps to its entry with EAX = 0x2BADB002 and EBX = a
 * Multiboot information structure that holds mem_lower and mem_upper only (Multiboot 1, 3.2 and 3.3).
 */
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	ljmp $0, $1f
1:	mov %dl, drive
	in $0x92, %al
	or $2, %al
	out %al, $0x92
	mov sectors, %bx
next:	mov $32, %ax            /* 16 KiB at a time */
	cmp %ax, %bx
	jae 2f
	mov %bx, %ax
2:	mov %ax, packet_count
	mov $packet, %si
	mov drive, %dl
	mov $0x42, %ah
	int $0x13
	jc failed
	mov packet_count, %ax
	add %ax, packet_lba
	mov %ax, %cx
	shl $5, %cx             /* sectors to paragraphs */
	add %cx, packet_segment
	sub %ax, %bx
	jnz next
	lgdt gdt_pointer
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmp $8, $protected
failed:	hlt
	jmp failed

	.code32
protected:
	mov $16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %ax, %fs
	mov %ax, %gs
	movzwl sectors, %ecx
	shl $7, %ecx
	mov $0x10000, %esi
	mov $0x100000, %edi
	cld
	rep movsl
	mov $0x2BADB002, %eax
	mov $information, %ebx
	jmp *entry

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9a000000ffff
	.quad 0x00cf92000000ffff
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long gdt
packet:	.byte 16, 0
packet_count:
	.word 0
	.word 0
packet_segment:
	.word 0x1000
packet_lba:
	.quad 1
drive:	.byte 0
information:
	.long 1, 639, 500 * 1024
	.org 0x1f0
sectors:
	.word 0
entry:	.long 0
	.org 0x1fe
	.word 0xaa55
