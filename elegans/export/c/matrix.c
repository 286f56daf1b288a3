        size_t j;

        for (j = 0; j < @COLUMNS@; j++) {
            value += READ(output_weight[k][j]) * state->x[@COLUMN@];
        }
