
static float activation(float x)
{
    return x > 0.0f ? x : 0.0f;
}
