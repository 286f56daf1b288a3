
/* What the inputs contribute. */
static void sense(circuit_state *state, const float *u)
{
    size_t i, k = 0;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        float drive = 0.0f;
        size_t left;

        for (left = READ_INDEX(sensory_count[i]); left > 0; left--, k++) {
            drive += READ(sensory_weight[k]) * u[READ_INDEX(sensory_source[k])];
        }
        state->drive[i] = drive;
    }
}

/* The firing rates at the states x. */
static void fire(circuit_state *state, const float *x)
{
    size_t i;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        state->rate[i] = activation(x[i] + READ(bias[i]));
    }
}

/* Leak and drive of neuron i at the present firing rates. Its first synapse is k; returned is that
 * of the next neuron. */
static size_t gates(const circuit_state *state, const float *x, size_t i, size_t k,
                    float *conductance, float *drive)
{
    size_t left;

    (void)x;
    *conductance = 1.0f;
    *drive = state->drive[i];
    for (left = READ_INDEX(recurrent_count[i]); left > 0; left--, k++) {
        *drive += READ(recurrent_weight[k]) * state->rate[READ_INDEX(recurrent_source[k])];
    }
    return k;
}
