
#if defined(CIRCUIT_TEST) || defined(CIRCUIT_MAIN)
#include <stdio.h>

#define CHECK_STEPS @STEPS@
#define CHECK_TOLERANCE @TOLERANCE@

@TABLES@
/* A number in its unit, from where the range of inputs begins in the middle, at most its ends. */
static @SMALL@ whole(double value, size_t k)
{
    const double number = (value - (double)input_middle[k]) / (double)input_unit[k];

    if (!(number > -@MOST@.0)) {
        return -@MOST@;
    }
    return (@SMALL@)(number > @MOST@.0 ? @MOST@.0 : number + (number < 0.0 ? -0.5 : 0.5));
}

static double real(@SMALL@ number, size_t k)
{
    return (double)output_middle[k] + (double)output_unit[k] * (double)number;
}

/* Take the recorded steps; return how many outputs are wrong. */
int circuit_test(void)
{
    static circuit_state state;
    @SMALL@ input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS];
    double largest = 0.0;
    int wrong = 0;
    size_t t, k;

    circuit_reset(&state);
    for (t = 0; t < CHECK_STEPS; t++) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            input[k] = whole((double)check_input[t][k], k);
        }
        circuit_step(&state, input, output);
        for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
            const double difference = real(output[k], k) - (double)check_output[t][k];
            const double size = difference < 0.0 ? -difference : difference;

            largest = size > largest ? size : largest;
            wrong += !(size <= (double)CHECK_TOLERANCE);
        }
    }
    printf("%d of %d outputs are wrong; the largest error is %g\n", wrong,
           CHECK_STEPS * CIRCUIT_OUTPUTS, largest);
    return wrong;
}
#endif

#ifdef CIRCUIT_MAIN
/* Without arguments: read rows of inputs and print rows of outputs. With one: test. */
int main(int count, char **arguments)
{
    static circuit_state state;
    @SMALL@ input[CIRCUIT_INPUTS], output[CIRCUIT_OUTPUTS];
    double value;
    size_t k;

    (void)arguments;
    if (count > 1) {
        return circuit_test() != 0;
    }
    circuit_reset(&state);
    for (;;) {
        for (k = 0; k < CIRCUIT_INPUTS; k++) {
            if (scanf("%lf%*[ ,;\t]", &value) != 1) {
                return 0;
            }
            input[k] = whole(value, k);
        }
        circuit_step(&state, input, output);
        for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
            printf(k + 1 < CIRCUIT_OUTPUTS ? "%.9g " : "%.9g\n", real(output[k], k));
        }
    }
}
#endif
