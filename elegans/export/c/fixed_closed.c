
/* One after the other, those nearer to the inputs first: what is above CIRCUIT_NEURONS in x is new. */
static void advance(circuit_state *state, const @SMALL@ *input)
{
    size_t n, m, left, @CURSORS@;

    for (n = 0; n < CIRCUIT_NEURONS; n++) {
        @WIDE@ map[MAPS];
        @USMALL@ open[MAPS];

        for (m = 0; m < MAPS; m++) {
            map[m] = (@WIDE@)(int32_t)READ_32(map_bias[n][m])@WIDER@;
        }
@SUMS@
        for (m = 0; m < MAPS; m++) {
            const @WIDE@ factor = (@SMALL@)READ_@BITS@(map_factor[n][m]);

            open[m] = gate(((map[m] >> @LESS@) * factor) >> @SHIFT@);
        }
        state->x[CIRCUIT_NEURONS + READ_INDEX(order[n])] = solved(open);
    }
    for (n = 0; n < CIRCUIT_NEURONS; n++) {
        state->x[n] = state->x[CIRCUIT_NEURONS + n];
    }
}
