
static float activation(float x)
{
    return hyperbolic(x);
}
