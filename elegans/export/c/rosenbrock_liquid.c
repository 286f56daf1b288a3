
/* Capacitance over the length of an unfold times (I - DIAGONAL h J), with the Jacobian J at x. */
static void couple(circuit_state *state@RATE_ARGUMENT@)
{
    size_t i, j, left, k = 0;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        float conductance = state->conductance[i];

        for (j = 0; j < CIRCUIT_NEURONS; j++) {
            state->matrix[i][j] = 0.0f;
        }
        for (left = READ_INDEX(recurrent_count[i]); left > 0; left--, k++) {
            const float gain = READ(recurrent_gain[k]);
            const size_t source = READ_INDEX(recurrent_source[k]);
            const float share = sigmoid(gain * (state->x[source] - READ(recurrent_centre[k])));
            const float open = READ(recurrent_weight[k]) * share;
            const float pull = READ(recurrent_potential[k]) - state->x[i];

            conductance += open;
            state->matrix[i][source] -= DIAGONAL * open * gain * (1.0f - share) * pull;
        }
@JUNCTIONS@
        state->matrix[i][i] += RATE(i) + DIAGONAL * conductance;
    }
}
