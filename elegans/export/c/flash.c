#include <stddef.h>
#include <stdint.h>

/* Tables lie in flash memory; where that is no part of the address space, they are read by macros. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define FLASH PROGMEM
#define READ(place) pgm_read_float(&(place))
#define READ_8(place) pgm_read_byte(&(place))
#define READ_16(place) pgm_read_word(&(place))
#define READ_32(place) pgm_read_dword(&(place))
#else
#define FLASH
#define READ(place) (place)
#define READ_8(place) (place)
#define READ_16(place) (place)
#define READ_32(place) (place)
#endif
