        value = value > READ(input_greatest[k]) ? READ(input_greatest[k])
            : value >= READ(input_least[k]) ? value : READ(input_least[k]);
