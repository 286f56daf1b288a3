/* exp(x) = 2^n 2^f with a whole n and a polynomial in -0.5 <= f <= 0.5; relative error 1e-7, of
 * which the rounding of x is most. Beyond -87 and 88 it stays what it is there. */
static float exponential(float x)
{
    union {
        int32_t bits;
        float value;
    } power;
    float f, y;
    int32_t n;

    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    y = x * 1.44269504f;
    n = (int32_t)(y < 0.0f ? y - 0.5f : y + 0.5f);
    f = (x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f) * 1.44269504f;
    y = 1.00000006f + f * (0.693146923f + f * (0.240221306f + f * (0.0555086403f
        + f * (0.00967566818f + f * 0.00132254004f))));
    power.bits = (n + 127) * (int32_t)0x00800000;
    return y * power.value;
}
