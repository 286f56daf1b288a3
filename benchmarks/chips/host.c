/* Nanoseconds of a step on this machine. */
#include <stdio.h>
#include <time.h>

#include "circuit.h"

int main(void)
{
    static circuit_state state;
    NUMBER input[CIRCUIT_INPUTS] = {0}, output[CIRCUIT_OUTPUTS];
    struct timespec from, to;
    const long steps = 200000;
    double sum = 0.0;

    circuit_reset(&state);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long step = 0; step < steps; step++) {
        input[0] = (NUMBER)((double)UNIT * (double)(step % 17) / 17.0);
        circuit_step(&state, input, output);
        sum += (double)output[0];
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%g\n", ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)steps);
    return sum == 0.5;
}
