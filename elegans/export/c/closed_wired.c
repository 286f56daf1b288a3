
/* One after the other, those nearer to the inputs first: what is above CIRCUIT_NEURONS in x is new. */
static void advance(circuit_state *state, const float *u, float t)
{
    size_t n, m, @CURSORS@;

    for (n = 0; n < CIRCUIT_NEURONS; n++) {
        const size_t i = READ_INDEX(order[n]);
        float map[MAPS];
        size_t left;

        for (m = 0; m < MAPS; m++) {
            map[m] = READ(map_bias[n][m]);
        }
@SUMS@
        state->x[CIRCUIT_NEURONS + i] = @SOLVED@;
    }
    for (n = 0; n < CIRCUIT_NEURONS; n++) {
        state->x[n] = state->x[CIRCUIT_NEURONS + n];
    }
}
