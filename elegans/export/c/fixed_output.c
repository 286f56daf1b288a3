        @SMALL@ value@VALUE@;
@MATRIX@
@ENDS@
        output[k] = value;
