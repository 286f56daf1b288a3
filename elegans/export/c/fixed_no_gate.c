
/* Half the state, tanh f + s tanh g, from sigmoids of 2 f, 2 g and the gate. */
static @SMALL@ solved(const @USMALL@ *open)
{
    const @WIDE@ half = (@WIDE@)1 << @LESS@;
    const @WIDE@ near = (@WIDE@)open[0] - half, far = (@WIDE@)open[1] - half;
    const @WIDE@ state = (near + (@WIDE@)open[2] * far / (2 * half)) / 2;

    return (@SMALL@)(state < -@MOST@ ? -@MOST@ : state);
}
