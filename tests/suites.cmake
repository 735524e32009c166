# Suites that need more than one file. test_<suite>_SOURCES and test_<suite>_LIBRARIES are read by CMakeLists.txt.

# Against the real CPU.
set(NATIVE_ORACLE native_oracle.c native_model.c native_compare.c)
set(test_native_integer_SOURCES ${NATIVE_ORACLE} native_encode.c)
set(test_native_blocks_SOURCES ${NATIVE_ORACLE} native_encode.c)
set(test_native_random_SOURCES ${NATIVE_ORACLE} native_encode.c)
set(test_native_segments_SOURCES ${NATIVE_ORACLE})
set(test_native_sse_SOURCES ${NATIVE_ORACLE})

# The layering proof: isa, tlb and vmx-model link without uarch and machine into a working functional simulator.
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/functional_guest.bin
	COMMAND gcc -m32 -c ${CMAKE_CURRENT_SOURCE_DIR}/functional_guest.S -o functional_guest.o
	COMMAND ld -m elf_i386 -Ttext=0x100000 --oformat binary -o functional_guest.bin functional_guest.o
	DEPENDS functional_guest.S WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
add_executable(ringside-functional functional_main.c ${CMAKE_CURRENT_BINARY_DIR}/functional_guest.bin)
target_link_libraries(ringside-functional PRIVATE -Wl,--start-group vmx_model tlb isa -Wl,--end-group)
add_test(NAME layering COMMAND ringside-functional ${CMAKE_CURRENT_BINARY_DIR}/functional_guest.bin)

# The guest images of test_isa_rings, linked flat for Multiboot's address fields. -m32 needs no 32-bit libraries here. 77: no QEMU to compare with.
set(RINGS_FLAGS -O1 -ffreestanding -fno-pic -no-pie -mno-red-zone -fno-stack-protector -mgeneral-regs-only -fno-asynchronous-unwind-tables -nostdlib -static
	-Wl,-Ttext,0x100000 -Wl,--oformat,binary -Wl,-e,start -Wl,--build-id=none)
foreach(image "rings -m32 -march=i686" "rings64 -m64")
	separate_arguments(image)
	list(POP_FRONT image name)
	add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.bin
		COMMAND gcc ${image} ${RINGS_FLAGS} -o ${name}.bin ${CMAKE_CURRENT_SOURCE_DIR}/rings/${name}.S ${CMAKE_CURRENT_SOURCE_DIR}/rings/${name}.c
		DEPENDS rings/${name}.S rings/${name}.c rings/probe.inc rings/probe.h WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} VERBATIM)
	list(APPEND RINGS_IMAGES ${CMAKE_CURRENT_BINARY_DIR}/${name}.bin)
endforeach()
add_custom_target(rings_images DEPENDS ${RINGS_IMAGES})
cmake_language(DEFER CALL add_dependencies test_isa_rings rings_images)
cmake_language(DEFER CALL set_tests_properties test_isa_rings PROPERTIES SKIP_RETURN_CODE 77)

# The image of test_hostile_guests, flat like those. -m64: its 64-bit programs are in the same text.
file(GLOB HOSTILE_PROGRAMS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/hostile/*.inc)
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/hostile_guests.bin
	COMMAND gcc -m64 -c ${CMAKE_CURRENT_SOURCE_DIR}/hostile_guests.S -o hostile_guests.o
	COMMAND ld -m elf_x86_64 -Ttext=0x100000 -e start --oformat binary -o hostile_guests.bin hostile_guests.o
	DEPENDS hostile_guests.S flat_guest.inc ${HOSTILE_PROGRAMS} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
add_custom_target(hostile_guests DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/hostile_guests.bin)
cmake_language(DEFER CALL add_dependencies test_hostile_guests hostile_guests)

# Random guest programs: their kernel, flat like those.
set(test_random_programs_SOURCES random_program.c)
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/random_guest.bin
	COMMAND gcc -m64 -c ${CMAKE_CURRENT_SOURCE_DIR}/random_guest.S -o random_guest.o
	COMMAND ld -m elf_x86_64 -Ttext=0x100000 -e start --oformat binary -o random_guest.bin random_guest.o
	DEPENDS random_guest.S random_guest.h flat_guest.inc WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
add_custom_target(random_guest DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/random_guest.bin)
cmake_language(DEFER CALL add_dependencies test_random_programs random_guest)

# The walker against QEMU's MMU, where Unicorn can be had.
find_library(UNICORN_LIBRARY unicorn)
find_path(UNICORN_INCLUDE unicorn/unicorn.h)
if(UNICORN_LIBRARY AND UNICORN_INCLUDE AND TARGET tlb)
	add_executable(unicorn_paging unicorn_paging.c)
	target_include_directories(unicorn_paging PRIVATE ${CMAKE_SOURCE_DIR} ${UNICORN_INCLUDE})
	target_link_libraries(unicorn_paging PRIVATE -Wl,--start-group ${ROOMS} -Wl,--end-group ${UNICORN_LIBRARY} ${CUNIT_LIBRARY} ${ZYDIS_LIBRARY} PkgConfig::ZLIB m)
	add_test(NAME test_tlb_unicorn COMMAND unicorn_paging)
else()
	add_test(NAME test_tlb_unicorn COMMAND ${CMAKE_COMMAND} -E echo "no Unicorn here: skipped")
	set_tests_properties(test_tlb_unicorn PROPERTIES SKIP_REGULAR_EXPRESSION "skipped")
endif()
