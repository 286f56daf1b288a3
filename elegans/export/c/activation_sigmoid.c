
static float activation(float x)
{
    return sigmoid(x);
}
