        for (j = READ_INDEX(electrical_start[i]); j < READ_INDEX(electrical_start[i + 1]); j++) {
            const size_t source = READ_INDEX(electrical_source[j]);
            const size_t way = READ_INDEX(electrical_way[j]);
            const float rise = state->x[source] - state->x[i];

            if (way == 0 || (way == 1 ? rise > 0.0f : rise < 0.0f)) {
                conductance += READ(electrical_weight[j]);
                state->matrix[i][source] -= DIAGONAL * READ(electrical_weight[j]);
            }
        }
