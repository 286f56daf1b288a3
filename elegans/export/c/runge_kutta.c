
/* Steps of an explicit Runge-Kutta method. */
static void advance(circuit_state *state@RATE_ARGUMENT@)
{
    size_t unfold, stage, i, j, k;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        for (stage = 0; stage < STAGES; stage++) {
            for (i = 0; i < CIRCUIT_NEURONS; i++) {
                float sum = state->x[i];

                for (j = 0; j < stage; j++) {
                    sum += READ(stage_row[stage][j]) * state->slope[j][i];
                }
                state->next[i] = sum;
            }
            FIRE(state, state->next);
            for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
                float conductance, drive;

                k = gates(state, state->next, i, k, &conductance, &drive);
                state->slope[stage][i] = (drive - conductance * state->next[i]) / RATE(i);
            }
        }
        for (i = 0; i < CIRCUIT_NEURONS; i++) {
            for (stage = 0; stage < STAGES; stage++) {
                state->x[i] += READ(stage_weight[stage]) * state->slope[stage][i];
            }
        }
    }
}
