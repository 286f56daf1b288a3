    /* Gap junctions: a way of 1 or 2 says that current flows to or from this neuron only. */
    for (left = READ_INDEX(electrical_start[i]); left < READ_INDEX(electrical_start[i + 1]); left++) {
        const float other = x[READ_INDEX(electrical_source[left])];
        const size_t way = READ_INDEX(electrical_way[left]);

        if (way == 0 || (way == 1 ? other > x[i] : x[i] > other)) {
            *conductance += READ(electrical_weight[left]);
            *drive += READ(electrical_weight[left]) * other;
        }
    }
