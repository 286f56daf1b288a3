            /* Gap junctions: a way of 1 or 2 says that current flows to or from this neuron only.
               While it does not the neuron's own potential pulls: a step has no jump there. */
            for (size_t j = READ_INDEX(electrical_start[i]); j < READ_INDEX(electrical_start[i + 1]);
                 j++) {
                const @SMALL@ other = state->x[READ_INDEX(electrical_source[j])];
                const @USMALL@ weight = (@USMALL@)READ_@BITS@(electrical_weight[j]);
                const size_t way = READ_INDEX(electrical_way[j]);
                const int flows =
                    way == 0 || (way == 1 ? other > state->x[i] : state->x[i] > other);

                opened += (@UWIDE@)weight << @BITS@;
                driven += (@WIDE@)weight * (flows ? other : state->x[i]);
            }
