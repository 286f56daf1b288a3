/* Cycles of a step on an ATmega328P, by its 16-bit timer. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "circuit.h"

static circuit_state state;
static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect)
{
    overflows++;
}

static void print(uint32_t value)
{
    char digits[11];
    uint8_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) {
        UDR0 = digits[--count];
    }
    UDR0 = '\n';
}

int main(void)
{
    NUMBER input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS];
    uint16_t low;
    uint8_t step, k;

    circuit_reset(&state);
    sei();
    for (step = 0; step < 8; step++) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            input[k] = (NUMBER)(UNIT * (0.3 * step - 0.5 * k - 1.0));
        }
        TCNT1 = 0;
        overflows = 0;
        TIFR1 = 1;
        TIMSK1 = 1;
        TCCR1B = 1;
        circuit_step(&state, input, output);
        low = TCNT1;
        TCCR1B = 0;
        print(((uint32_t)overflows << 16) + low);
    }
    cli();
    sleep_mode();
    return 0;
}
