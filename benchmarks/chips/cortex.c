/* Ticks of the system timer for steps on a Cortex-M, shown through semihosting. */
#include <stdint.h>

#include "circuit.h"

void start(void);

__attribute__((section(".vectors"), used)) const void *const vectors[] = {
    (void *)0x20004000, (void *)start,
};

static circuit_state state;
static volatile uint32_t *const timer = (volatile uint32_t *)0xE000E010;

static void call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;

    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(uint32_t value)
{
    char text[12];
    char *place = text + 11;

    *place = 0;
    *--place = '\n';
    do {
        *--place = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    call(4, place);
}

static void __attribute__((noinline)) run(void)
{
    NUMBER input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS];
    uint32_t step, k, before;

    circuit_reset(&state);
    for (step = 0; step < 8; step++) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            input[k] = (NUMBER)((float)UNIT * (0.3f * (float)step - 0.5f * (float)k - 1.0f));
        }
        timer[1] = 0xFFFFFF;
        timer[2] = 0;
        timer[0] = 5;
        while (!timer[2]) {
        }
        before = timer[2];
        circuit_step(&state, input, output);
        print((before - timer[2]) & 0xFFFFFF);
    }
    call(0x18, (void *)0x20026);
}

void start(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb; isb");
#endif
    run();
    for (;;) {
    }
}
