// Microseconds of a step of the circuit in a file.
const circuit = require(require("path").resolve(process.argv[2])).create();
let best = Infinity;
for (let turn = 0; turn < 20; turn++) {
  const steps = 10000, from = process.hrtime.bigint();
  for (let step = 0; step < steps; step++) circuit.step([(step % 17) / 17, 0.1]);
  best = Math.min(best, Number(process.hrtime.bigint() - from) / 1e3 / steps);
}
console.log(best);
