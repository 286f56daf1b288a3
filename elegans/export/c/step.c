
void circuit_reset(circuit_state *state)
{
    size_t i;

    for (i = 0; i < CIRCUIT_NEURONS; i++) {
        state->x[i] = 0.0f;
    }
}

void circuit_step(circuit_state *state, const float *input,@ELAPSED@ float *output)
{
    float u[CIRCUIT_INPUTS];
    size_t k;

    for (k = 0; k < CIRCUIT_INPUTS; k++) {
        float value = input[k];

@ENDS@
        u[k] = (value - READ(input_origin[k])) * READ(input_factor[k]) + READ(input_shift[k]);
    }
@WORK@
    for (k = 0; k < CIRCUIT_OUTPUTS; k++) {
        float value = @SUM@;
@MORE@
        value += READ(output_bias[k]);
@LIMITS@
        output[k] = value;
    }
}
