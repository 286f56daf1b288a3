
/* The state between two tanh, (1 - s) tanh f + s tanh g, from sigmoids of 2 f, 2 g and the gate. */
static @SMALL@ solved(const @USMALL@ *open)
{
    const @WIDE@ half = (@WIDE@)1 << @LESS@;
    const @WIDE@ near = (@WIDE@)open[0] - half, far = (@WIDE@)open[1] - half;
    const @WIDE@ gate = (@WIDE@)open[2], rest = 2 * half - 1 - gate;
    const @WIDE@ state = (rest * near + gate * far) / (2 * half);

    return (@SMALL@)(state < -@MOST@ ? -@MOST@ : state);
}
