
/* The state of neuron i after the time t, from the map f. */
static float solved(const float *map, float t, size_t i)
{
    const float f = map[0], size = f < 0.0f ? -f : f, far = READ(asymptote[i]);

    return far - far * f * exponential(-t * (READ(rate_size[i]) + size));
}
