
/* to = weight from + shift, with a weight (outputs, inputs). */
static void dense(const float *weight, const float *shift, const float *from, size_t inputs,
                  float *to, size_t outputs)
{
    size_t o, k;

    for (o = 0; o < outputs; o++) {
        float sum = READ(shift[o]);

        for (k = 0; k < inputs; k++) {
            sum += READ(weight[o * inputs + k]) * from[k];
        }
        to[o] = sum;
    }
}

static void advance(circuit_state *state, const float *u, float t)
{
    size_t i;
    for (i = 0; i < CIRCUIT_INPUTS; i++) {
        state->one[i] = u[i];
    }
    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        state->one[CIRCUIT_INPUTS + i] = state->x[i];
    }
@LAYERS@
    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        float map[MAPS];
        size_t m;

        for (m = 0; m < MAPS; m++) {
            map[m] = state->@LAST@[m * CIRCUIT_NEURONS + i];
        }
        state->x[i] = @SOLVED@;
    }
}
