
static float activation(float x)
{
    return 1.7159f * hyperbolic(0.666f * x);
}
