        for (left = READ_INDEX(@KIND@_count[n]); left > 0; left--, @CURSOR@++) {
            const @WIDE@ value = @READ@[READ_INDEX(@KIND@_source[@CURSOR@])];

            for (m = 0; m < @COUNT@; m++) {
                map[@PLACE@] += value * (@SMALL@)READ_@BITS@(@KIND@_weight[@CURSOR@][m]);
            }
        }
