
static float hyperbolic(float x)
{
    return tanhf(x);
}
