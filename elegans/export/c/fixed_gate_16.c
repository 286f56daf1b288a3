
/* A gate's opening in units of 1/65536, by its argument in units of 1/8192: between the entries of
 * the table, from 0 to 12; error 3e-5. */
static uint16_t gate(int32_t argument)
{
    const uint32_t size = argument < 0 ? 0u - (uint32_t)argument : (uint32_t)argument;
    uint16_t low, high, value;

    if (size >= 98304u) {
        return argument < 0 ? 0u : 65535u;
    }
    low = READ_16(sigmoid_of[size >> 8]);
    high = READ_16(sigmoid_of[(size >> 8) + 1u]);
    value = (uint16_t)(low + (((uint32_t)(uint16_t)(high - low) * (uint8_t)size) >> 8));
    return argument < 0 ? (uint16_t)(65535u - value) : value;
}
