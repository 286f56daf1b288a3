
static float activation(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.707106781f));
}
