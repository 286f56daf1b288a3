static float exponential(float x)
{
    return expf(x);
}
