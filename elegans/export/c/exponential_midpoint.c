
/* Exponential steps: exact for the gates in their middle, which half a step finds. */
static void advance(circuit_state *state@RATE_ARGUMENT@)
{
    size_t unfold, i, k;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        FIRE(state, state->x);
        for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
            float conductance, drive;

            k = gates(state, state->x, i, k, &conductance, &drive);
            state->middle[i] = relaxed(state->x[i], conductance, drive, 2.0f * RATE(i));
        }
        FIRE(state, state->middle);
        for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
            float conductance, drive;

            k = gates(state, state->middle, i, k, &conductance, &drive);
            state->x[i] = relaxed(state->x[i], conductance, drive, RATE(i));
        }
    }
}
