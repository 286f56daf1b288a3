
/* The state after the time t, from heads f and g and gates a and b. */
static float solved(const float *map, float t)
{
    const float gate = sigmoid(map[2] * t + map[3]);

    return hyperbolic(map[0]) * (1.0f - gate) + gate * hyperbolic(map[1]);
}
