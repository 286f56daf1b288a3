
/* The state after the time t, from heads f and g and gates a and b. */
static float solved(const float *map, float t)
{
    return hyperbolic(map[0]) + sigmoid(map[2] * t + map[3]) * hyperbolic(map[1]);
}
