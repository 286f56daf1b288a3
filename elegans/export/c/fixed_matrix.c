        @WIDE@ sum = 0;
        size_t j;

        for (j = 0; j < @COLUMNS@; j++) {
            sum += (@WIDE@)(@SMALL@)READ_@BITS@(output_weight[k][j]) * state->x[@COLUMN@];
        }
        value = (@SMALL@)(sum / ((@WIDE@)1 << @LESS@));
