
void circuit_reset(circuit_state *state)
{
    size_t i;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        state->x[i] = 0;
    }
}

void circuit_step(circuit_state *state, const @SMALL@ *input, @SMALL@ *output)
{
    size_t k;

@WORK@
    for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
@OUTPUT@
    }
}
