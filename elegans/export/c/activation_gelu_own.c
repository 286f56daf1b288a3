
/* The error function by formula 7.1.26 of Abramowitz and Stegun, error 1.5e-7. */
static float activation(float x)
{
    const float z = (x < 0.0f ? -x : x) * 0.707106781f;
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    const float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
        + t * (-1.453152027f + t * 1.061405429f)))) * exponential(-z * z);

    return 0.5f * x * (x < 0.0f ? tail : 2.0f - tail);
}
