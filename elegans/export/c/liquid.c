
/* Leak and open sensory conductances, and the same times their potentials. */
static void sense(circuit_state *state, const float *u)
{
    size_t i, k = 0;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        float conductance = READ(leak_conductance[i]), drive = READ(leak_drive[i]);
        size_t left;

        for (left = READ_INDEX(sensory_count[i]); left > 0; left--, k++) {
            const float above = u[READ_INDEX(sensory_source[k])] - READ(sensory_centre[k]);
            const float open = READ(sensory_weight[k]) * sigmoid(READ(sensory_gain[k]) * above);

            conductance += open;
            drive += open * READ(sensory_potential[k]);
        }
        state->conductance[i] = conductance;
        state->drive[i] = drive;
    }
}

/* Total conductance and drive of neuron i at the potentials x. Its first synapse is k; returned is
 * that of the next neuron. */
static size_t gates(const circuit_state *state, const float *x, size_t i, size_t k,
                    float *conductance, float *drive)
{
    size_t left;

    *conductance = state->conductance[i];
    *drive = state->drive[i];
    for (left = READ_INDEX(recurrent_count[i]); left > 0; left--, k++) {
        const float above = x[READ_INDEX(recurrent_source[k])] - READ(recurrent_centre[k]);
        const float open = READ(recurrent_weight[k]) * sigmoid(READ(recurrent_gain[k]) * above);

        *conductance += open;
        *drive += open * READ(recurrent_potential[k]);
    }
@JUNCTIONS@
    return k;
}
