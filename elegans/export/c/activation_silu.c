
static float activation(float x)
{
    return x * sigmoid(x);
}
