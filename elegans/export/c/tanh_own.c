
static float hyperbolic(float x)
{
    return 2.0f * sigmoid(2.0f * x) - 1.0f;
}
