/* A gate's opening in units of 1/65536, by its argument in units of 1/8192: between the entries of
 * the table, from 0 to 12; error 3e-5. */
static uint16_t gate(float argument)
{
    const float size = argument < 0.0f ? -argument : argument;
    uint32_t place;
    uint16_t low, high, value;

    if (!(size < 98304.0f)) {
        return argument < 0.0f ? 0u : 65535u;
    }
    place = (uint32_t)size;
    low = READ_16(sigmoid_of[place >> 8]);
    high = READ_16(sigmoid_of[(place >> 8) + 1u]);
    value = (uint16_t)(low + (((uint32_t)(uint16_t)(high - low) * (uint8_t)place) >> 8));
    return argument < 0.0f ? (uint16_t)(65535u - value) : value;
}

/* Sums of conductances and of currents over synapses are whole numbers, in units of each neuron. */

/* Leak and open sensory conductances, and the same times their potentials. */
static void sense(circuit_state *state, const float *u)
{
    size_t i, k = 0;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        uint32_t opened = 0;
        int32_t driven = 0;
        size_t left;

        for (left = READ_INDEX(sensory_count[i]); left > 0; left--, k++) {
            const float above = u[READ_INDEX(sensory_source[k])] - READ(sensory_centre[k]);
            const uint16_t open = gate(READ(sensory_gain[k]) * above);

            opened += (uint32_t)READ_16(sensory_weight[k]) * open;
            driven += (int32_t)(int16_t)READ_16(sensory_current[k]) * (int32_t)open;
        }
        state->conductance[i] = READ(leak_conductance[i]) + READ(sensory_unit[i][0]) * (float)opened;
        state->drive[i] = READ(leak_drive[i]) + READ(sensory_unit[i][1]) * (float)driven;
    }
}

/* Total conductance and drive of neuron i at the potentials x. Its first synapse is k; returned is
 * that of the next neuron. */
static size_t gates(const circuit_state *state, const float *x, size_t i, size_t k,
                    float *conductance, float *drive)
{
    uint32_t opened = 0;
    int32_t driven = 0;
    size_t left;

    for (left = READ_INDEX(recurrent_count[i]); left > 0; left--, k++) {
        const float above = x[READ_INDEX(recurrent_source[k])] - READ(recurrent_centre[k]);
        const uint16_t open = gate(READ(recurrent_gain[k]) * above);

        opened += (uint32_t)READ_16(recurrent_weight[k]) * open;
        driven += (int32_t)(int16_t)READ_16(recurrent_current[k]) * (int32_t)open;
    }
    *conductance = state->conductance[i] + READ(recurrent_unit[i][0]) * (float)opened;
    *drive = state->drive[i] + READ(recurrent_unit[i][1]) * (float)driven;
@JUNCTIONS@
    return k;
}
