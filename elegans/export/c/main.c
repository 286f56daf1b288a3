
#if defined(CIRCUIT_TEST) || defined(CIRCUIT_MAIN)
#include <stdio.h>

#define CHECK_STEPS @STEPS@
#define CHECK_TOLERANCE @TOLERANCE@

@TABLES@
/* Take the recorded steps; return how many outputs are wrong. */
int circuit_test(void)
{
    static circuit_state state;
    float input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS], largest = 0.0f;
    int wrong = 0;
    size_t t, k;

    circuit_reset(&state);
    for (t = 0; t < CHECK_STEPS; t++) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            input[k] = READ(check_input[t][k]);
        }
        circuit_step(&state, input,@CHECK_ELAPSED@ output);
        for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
            const float difference = output[k] - READ(check_output[t][k]);
            const float size = difference < 0.0f ? -difference : difference;

            largest = size > largest ? size : largest;
            wrong += !(size <= CHECK_TOLERANCE);
        }
    }
    printf("%d of %d outputs are wrong; the largest error is %g\n", wrong,
           CHECK_STEPS * CIRCUIT_OUTPUTS, (double)largest);
    return wrong;
}
#endif

#ifdef CIRCUIT_MAIN
/* Without arguments: read rows of inputs@ROWS@ and print rows of outputs. With one: test. */
int main(int count, char **arguments)
{
    static circuit_state state;
    float input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS]@MAIN_ELAPSED@;
    size_t k;

    (void)arguments;
    if (count > 1) {
        return circuit_test() != 0;
    }
    circuit_reset(&state);
    for (;;) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            if (scanf("%f%*[ ,;\t]", &input[k]) != 1) {
                return 0;
            }
        }
@SCAN_ELAPSED@
        circuit_step(&state, input,@STEP_ELAPSED@ output);
        for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
            printf(k + 1 < CIRCUIT_OUTPUTS ? "%.9g " : "%.9g\n", (double)output[k]);
        }
    }
}
#endif
