
/* A gate's opening in units of 2^-32, by its argument in units of 2^-23: a cubic between the entries
 * of the table, from 0 to 16, whose slopes are those of the sigmoid; error 1e-9. */
static uint32_t gate(int64_t argument)
{
    const int64_t size = argument < 0 ? -argument : argument;
    int64_t low, high, at_low, at_high, rise, t, value;

    if (size >= (int64_t)16 << 23) {
        return argument < 0 ? 0u : 4294967295u;
    }
    low = (int64_t)READ_32(sigmoid_of[size >> 18]);
    high = (int64_t)READ_32(sigmoid_of[(size >> 18) + 1]);
    t = size & 262143;
    rise = high - low;
    at_low = (int64_t)(((uint64_t)low * (uint64_t)(4294967296 - low)) >> 37);
    at_high = (int64_t)(((uint64_t)high * (uint64_t)(4294967296 - high)) >> 37);
    value = at_low + at_high - 2 * rise;
    value = 3 * rise - 2 * at_low - at_high + ((value * t) >> 18);
    value = low + (((at_low + ((value * t) >> 18)) * t) >> 18);
    value = value > 4294967295 ? 4294967295 : value;
    return (uint32_t)(argument < 0 ? 4294967295 - value : value);
}
