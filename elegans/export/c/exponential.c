
/* Exponential steps: exact for the gates at their beginning. */
static void advance(circuit_state *state@RATE_ARGUMENT@)
{
    size_t unfold, i, k;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        FIRE(state, state->x);
        for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
            float conductance, drive;

            k = gates(state, state->x, i, k, &conductance, &drive);
            state->next[i] = relaxed(state->x[i], conductance, drive, RATE(i));
        }
        for (i = 0; i < CIRCUIT_NEURONS; i++) {
            state->x[i] = state->next[i];
        }
    }
}
