
static float size_of(float value)
{
    return value < 0.0f ? -value : value;
}

/* Replace the matrix by its triangular factors, with the largest pivot of each column. */
static void factor(circuit_state *state)
{
    size_t i, j, k;

    for (k = 0; k < CIRCUIT_NEURONS; k++) {
        size_t best = k;

        for (i = k + 1; i < CIRCUIT_NEURONS; i++) {
            best = size_of(state->matrix[i][k]) > size_of(state->matrix[best][k]) ? i : best;
        }
        state->pivot[k] = (uint16_t)best;
        for (j = 0; j < CIRCUIT_NEURONS; j++) {
            const float kept = state->matrix[k][j];

            state->matrix[k][j] = state->matrix[best][j];
            state->matrix[best][j] = kept;
        }
        for (i = k + 1; i < CIRCUIT_NEURONS; i++) {
            const float share = state->matrix[i][k] / state->matrix[k][k];

            state->matrix[i][k] = share;
            for (j = k + 1; j < CIRCUIT_NEURONS; j++) {
                state->matrix[i][j] -= share * state->matrix[k][j];
            }
        }
    }
}

/* Replace the right-hand side by the solution. */
static void solve(const circuit_state *state, float *right)
{
    size_t i, j;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        const float kept = right[i];

        right[i] = right[state->pivot[i]];
        right[state->pivot[i]] = kept;
    }
    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        for (j = 0; j < i; j++) {
            right[i] -= state->matrix[i][j] * right[j];
        }
    }
    for (i = CIRCUIT_NEURONS; i-- > 0;) {
        for (j = i + 1; j < CIRCUIT_NEURONS; j++) {
            right[i] -= state->matrix[i][j] * right[j];
        }
        right[i] /= state->matrix[i][i];
    }
}

/* Steps of a Rosenbrock method: linearly implicit in all potentials, one matrix for all stages. */
static void advance(circuit_state *state@RATE_ARGUMENT@)
{
    size_t unfold, stage, i, j, k;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        FIRE(state, state->x);
        couple(state@RATE_PASSED@);
        factor(state);
        for (stage = 0; stage < STAGES; stage++) {
            for (i = 0; i < CIRCUIT_NEURONS; i++) {
                state->next[i] = state->x[i];
                for (j = 0; j < stage; j++) {
                    state->next[i] += READ(stage_row[stage][j]) * state->slope[j][i];
                }
            }
            FIRE(state, state->next);
            for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
                float conductance, drive, sum = 0.0f;

                k = gates(state, state->next, i, k, &conductance, &drive);
                for (j = 0; j < stage; j++) {
                    sum += READ(stage_mix[stage][j]) * state->slope[j][i];
                }
                sum = RATE(i) * sum + drive - conductance * state->next[i];
                state->slope[stage][i] = DIAGONAL * sum;
            }
            solve(state, state->slope[stage]);
        }
        for (i = 0; i < CIRCUIT_NEURONS; i++) {
            for (stage = 0; stage < STAGES; stage++) {
                state->x[i] += READ(stage_weight[stage]) * state->slope[stage][i];
            }
        }
    }
}
