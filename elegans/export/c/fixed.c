
/* Conductances are in units of each neuron's largest total, over 2^@TWICE@; currents in those times the
 * unit of potentials, over 2^@TWICE_LESS@; so their quotient is a potential in its own unit. */

/* What does not depend on the potentials. */
static void sense(circuit_state *state, const @SMALL@ *input)
{
    size_t i, k = 0;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        @UWIDE@ opened = @BASE@;
        @WIDE@ driven = @DRIVE@;
        size_t left;

        for (left = READ_INDEX(sensory_count[i]); left > 0; left--, k++) {
            const @WIDE@ value = input[READ_INDEX(sensory_source[k])];
@SENSORY@
        }
        state->conductance[i] = opened;
        state->drive[i] = driven;
    }
}

/* The potential whose product with `opened` is `driven`, rounded; what only rounding could make larger
 * than any potential is cut. */
static @SMALL@ divided(@WIDE@ driven, @UWIDE@ opened)
{
    const @WIDE@ most = (@WIDE@)((opened >> 1) - (opened >> 10));
    @WIDE@ by;

    driven = driven > most ? most : driven < -most ? -most : driven;
    while (opened < (@UWIDE@)1 << @TOP@) {
        opened *= 2;
        driven *= 2;
    }
    by = (@WIDE@)(opened >> @BITS@);
    driven += driven < 0 ? -by / 2 : by / 2;
    return (@SMALL@)(driven / by);
}

/* Semi-implicit steps: implicit in a neuron's own potential, explicit in the gates. */
static void advance(circuit_state *state)
{
    size_t unfold, i, k, left;

    for (unfold = 0; unfold < UNFOLDS; unfold++) {
        for (i = 0, k = 0; i < CIRCUIT_NEURONS; i++) {
            @UWIDE@ opened = state->conductance[i];
            @WIDE@ driven = state->drive[i];

            driven += (@WIDE@)(@USMALL@)READ_@BITS@(capacitance[i]) * state->x[i];
            for (left = READ_INDEX(recurrent_count[i]); left > 0; left--, k++) {
                const @WIDE@ value = state->x[READ_INDEX(recurrent_source[k])];
@RECURRENT@
            }
@JUNCTIONS@
            state->next[i] = divided(driven, opened);
        }
        for (i = 0; i < CIRCUIT_NEURONS; i++) {
            state->x[i] = state->next[i];
        }
    }
}
