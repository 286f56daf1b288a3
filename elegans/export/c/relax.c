
/* The potential x after a step with frozen gates: capacitance over its length is `rate`. */
static float relaxed(float x, float conductance, float drive, float rate)
{
    const float z = conductance / rate;
    const float share = z < 0.25f
        ? 1.0f - z * (0.5f - z * (0.166666667f - z * (0.0416666667f - z * (0.00833333333f
            - z * 0.00138888889f))))
        : (1.0f - exponential(-z)) / z;

    return x + (drive - conductance * x) / rate * share;
}
