        value = value > (@SMALL@)READ_@BITS@(output_greatest[k]) ? (@SMALL@)READ_@BITS@(output_greatest[k])
            : value < (@SMALL@)READ_@BITS@(output_least[k]) ? (@SMALL@)READ_@BITS@(output_least[k])
            : value;
