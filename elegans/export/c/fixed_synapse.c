const @WIDE@ above = ((value * (@SMALL@)READ_@BITS@(@KIND@_gain[k])) >> @SHIFT@)
    + (int32_t)READ_32(@KIND@_offset[k]);
const @USMALL@ open = gate(above);

@OPENED@
driven += (@WIDE@)(@SMALL@)READ_@BITS@(@KIND@_current[k]) * (@WIDE@)open;
