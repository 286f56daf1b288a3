/* Between the entries, 1/32 apart from 0 to 12, in units of 1/65536; error 3e-5. */
static float sigmoid(float z)
{
    const float size = z < 0.0f ? -z : z;
    uint32_t place, low, high;
    float value;

    if (!(size < 12.0f)) {
        return z < 0.0f ? 0.0f : 1.0f;
    }
    place = (uint32_t)(size * 8192.0f);
    low = READ_16(sigmoid_of[place >> 8]);
    high = READ_16(sigmoid_of[(place >> 8) + 1u]);
    value = (float)((low << 8) + (high - low) * (place & 255u)) * (1.0f / 16777216.0f);
    return z < 0.0f ? 1.0f - value : value;
}
