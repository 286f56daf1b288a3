        value = value > READ(output_greatest[k]) ? READ(output_greatest[k])
            : value < READ(output_least[k]) ? READ(output_least[k]) : value;
