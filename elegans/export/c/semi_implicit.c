
/* Semi-implicit steps: implicit in a neuron's own potential, explicit in the gates. */
static void advance(circuit_state *state@RATE_ARGUMENT@)
{
    size_t unfold, i, k;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        FIRE(state, state->x);
        for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
            const float rate = RATE(i);
            float conductance, drive;

            k = gates(state, state->x, i, k, &conductance, &drive);
            state->next[i] = (rate * state->x[i] + drive) / (rate + conductance);
        }
        for (i = 0; i < CIRCUIT_NEURONS; i++) {
            state->x[i] = state->next[i];
        }
    }
}
