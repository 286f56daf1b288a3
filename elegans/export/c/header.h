/*
@ABOUT@
 */
#ifndef CIRCUIT_H
#define CIRCUIT_H
@INCLUDE@

#define CIRCUIT_INPUTS @INPUTS@
#define CIRCUIT_OUTPUTS @OUTPUTS@
#define CIRCUIT_NEURONS @NEURONS@

#ifdef __cplusplus
extern "C" {
#endif

/* The potentials are x; the rest is room for a step. */
typedef struct {
@FIELDS@
} circuit_state;

/* Begin anew, at rest. */
void circuit_reset(circuit_state *state);

/* Take a step: read CIRCUIT_INPUTS numbers, write CIRCUIT_OUTPUTS. */
void circuit_step(circuit_state *state, const @NUMBER@ *input,@ELAPSED@ @NUMBER@ *output);

#ifdef __cplusplus
}
#endif
#endif
