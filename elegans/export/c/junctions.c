    /* Gap junctions: a way of 1 or 2 says that current flows to or from this neuron only. While it
       does not the neuron's own potential pulls, so that a step has no jump where it begins. */
    for (size_t j = READ_INDEX(electrical_start[i]); j < READ_INDEX(electrical_start[i + 1]); j++) {
        const float other = x[READ_INDEX(electrical_source[j])];
        const size_t way = READ_INDEX(electrical_way[j]);

        const int flows = way == 0 || (way == 1 ? other > x[i] : x[i] > other);

        *conductance += READ(electrical_weight[j]);
        *drive += READ(electrical_weight[j]) * (flows ? other : x[i]);
    }
