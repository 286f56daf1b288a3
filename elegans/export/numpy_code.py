"""Code of circuits on NumPy, piece by piece: an export takes those that its circuit needs."""

from __future__ import annotations

SIGMOID = '''
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), which does not overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
'''

PHI1 = '''
def phi1(z):
    """Return (exp(z) - 1) / z, which is 1 at 0."""
    is_zero = z == 0
    return np.where(is_zero, 1, np.expm1(z) / np.where(is_zero, 1, z))
'''

RELAX = '''
def relax(x, h, capacitance, conductance, drive):
    """Follow C dx/dt = A - G x for the time h, with conductance G and drive A held constant."""
    rate = h / capacitance
    return x + rate * (drive - conductance * x) * phi1(-rate * conductance)
'''

ACTIVATIONS = {
    "lecun_tanh": '''
def activation(x):
    """Return LeCun's tanh."""
    return 1.7159 * np.tanh(0.666 * x)
''',
    "silu": '''
def activation(x):
    """Return x sigmoid(x)."""
    return x * sigmoid(x)
''',
    "relu": '''
def activation(x):
    """Return the positive part."""
    return np.maximum(x, 0)
''',
    "tanh": '''
def activation(x):
    """Return tanh(x)."""
    return np.tanh(x)
''',
    "gelu": '''
erf = np.vectorize(math.erf, otypes=[float])


def activation(x):
    """Return x times the normal distribution function of x."""
    return (0.5 * x * (1 + erf(x / math.sqrt(2)))).astype(x.dtype)
''',
}

CLOSED_FORMS = {
    "default": '''
def closed_form(maps, elapsed):
    """Return the states after the elapsed time, from the maps (..., map, neuron)."""
    f, g, a, b = np.moveaxis(maps, -2, 0)
    s = sigmoid(a * elapsed + b)
    return (1 - s) * np.tanh(f) + s * np.tanh(g)
''',
    "no_gate": '''
def closed_form(maps, elapsed):
    """Return the states after the elapsed time, from the maps (..., map, neuron)."""
    f, g, a, b = np.moveaxis(maps, -2, 0)
    return np.tanh(f) + sigmoid(a * elapsed + b) * np.tanh(g)
''',
    "pure": '''
def closed_form(maps, elapsed, rate, asymptote):
    """Return the states after the elapsed time, from the one map (..., 1, neuron)."""
    f = maps[..., 0, :]
    return asymptote - asymptote * f * np.exp(-elapsed * (np.abs(rate) + np.abs(f)))
''',
}

SYNAPSES = '''
class {name}:
    """{what} in the order of their targets: those onto neuron i are start[i] to start[i + 1]."""

    def __init__(self, table, dtype):
        start = np.array(table["start"])
        self.source = np.array(table["source"], int)
{values}
        self.neurons = len(start) - 1
        self.reached = np.flatnonzero(np.diff(start))  # neurons that have synapses
        self.first = start[self.reached]
{call}
    def total(self, arriving):
        """Sum what arrives along the synapses, (..., synapse), at their targets, (..., neuron)."""
        total = np.zeros(arriving.shape[:-1] + (self.neurons,), arriving.dtype)
        total[..., self.reached] = np.add.reduceat(arriving, self.first, axis=-1)
        return total
'''

LIQUID_VALUES = """        self.weight = np.array(table["weight"], dtype)
        self.gain = np.array(table["gain"], dtype)
        self.centre = np.array(table["centre"], dtype)
        self.potential = np.array(table["potential"], dtype)"""

LIQUID_CALL = '''
    def __call__(self, x):
        """Return open conductances and driving currents of neurons for sources (..., source)."""
        gate = self.weight * sigmoid(self.gain * (x[..., self.source] - self.centre))
        return self.total(gate), self.total(gate * self.potential)
'''

JUNCTION_VALUES = """        self.target = np.repeat(np.arange(len(start) - 1), np.diff(start))
        self.weight = np.array(table["weight"], dtype)
        self.way = np.array(table["way"], dtype)  # 1 or -1: current flows to, or from, it only"""

JUNCTION_CALL = '''
    def __call__(self, x):
        """Return conductances and driving currents of neurons for potentials (..., neuron)."""
        here, other = x[..., self.target], x[..., self.source]
        flows = (self.way == 0) | (self.way * (other - here) > 0)
        pulled = np.where(flows, other, here)  # by itself while no current flows: no step jumps
        weight = np.broadcast_to(self.weight, pulled.shape)
        return self.total(weight), self.total(weight * pulled)
'''

WEIGHT_VALUE = """        self.weight = np.array(table["weight"], dtype)"""

RATES_CALL = '''
    def __call__(self, x):
        """Return the weighted sums (..., neuron) of sources (..., source)."""
        return self.total(self.weight * x[..., self.source])
'''

MAPS_VALUE = """        self.weight = np.array(table["weight"], dtype)  # (map, synapse)"""

MAPS_CALL = '''
    def __call__(self, x):
        """Return the weighted sums (..., map, neuron) of sources (..., source)."""
        return self.total(self.weight * x[..., None, self.source])
'''

CIRCUIT = '''
class Circuit:
    """The circuit and its state.

    `dtype` is the precision that it computes in: numpy.float64, numpy.float32. `state` holds the
    potentials, (neuron,) or (batch, neuron), or None at rest; it may be set.
    """

    def __init__(self, dtype=np.float64):
        self.dtype = np.dtype(dtype)
{tables}
        self.reset()

    def reset(self, batch=None):
        """Come to rest: `batch` circuits side by side, or as many as the next inputs are for."""
        self.state = None if batch is None else np.zeros((batch, NEURONS), self.dtype)

    def __call__(self, inputs{elapsed_argument}):
        """Take one step and return the outputs, (output,) or (batch, output).

        `inputs` are (input,) or (batch, input), in the units of the data.{elapsed_text}
        """
        inputs = np.asarray(inputs, np.float64)
        at_rest = np.zeros(inputs.shape[:-1] + (NEURONS,), self.dtype)
        x = at_rest if self.state is None else np.asarray(self.state, self.dtype)
        expected = x.shape[:-1] + (len(INPUTS),)
        if inputs.shape != expected:
            raise ValueError(f"got inputs of shape {{inputs.shape}}, expected {{expected}}")
        if not np.isfinite(inputs).all():
            raise ValueError(f"got inputs {{inputs}}, expected finite numbers")
{elapsed_check}{clamp}        u = ((inputs - ORIGIN) * FACTOR + SHIFT).astype(self.dtype)
{integrate}
        if not np.isfinite(x).all():
            raise FloatingPointError("the state left the finite numbers; it is kept as it was")
        self.state = x.astype(self.dtype)
        outputs = {outputs}
        return {limits}.astype(self.dtype)
{methods}'''

ELAPSED_TEXT = """
        `elapsed` is the time since the step before, a number or (batch,)."""

ELAPSED_CHECK = """        elapsed = np.asarray(elapsed, np.float64)
        if elapsed.shape not in ((), x.shape[:-1]) or not np.isfinite(elapsed).all():
            raise ValueError(f"got elapsed={elapsed}, expected a finite number, or one a row")
        if (elapsed < 0).any():
            raise ValueError(f"got elapsed={elapsed}, expected at least 0")
        elapsed = np.broadcast_to(elapsed[..., None] / UNIT, x.shape[:-1] + (1,))
        elapsed = elapsed.astype(self.dtype)
"""

INTEGRATE = """        sensed = self.sense(u)
        h = {elapsed} / UNFOLDS
        for _ in range(UNFOLDS):
            x = self.step(x, h, sensed)"""

EVALUATE = """        x = self.step(x, u, {elapsed})"""

LIQUID_SENSE = '''
    def sense(self, u):
        """Return conductance and drive of each neuron by its leak and the inputs."""
        conductance, drive = self.sensory(u)
        return self.conductance + conductance, self.drive + drive
'''

LIQUID_NO_SENSE = '''
    def sense(self, u):
        """Return conductance and drive of each neuron by its leak; no input reaches any."""
        return self.conductance, self.drive
'''

LIQUID_FLOW = '''
    def flow(self, x, sensed):
        """Return conductance G and drive A of each neuron: C dx/dt = A - G x."""
        conductance, drive = self.{set}(x)
        return sensed[0] + conductance, sensed[1] + drive
'''

LIQUID_JOINED_FLOW = '''
    def flow(self, x, sensed):
        """Return conductance G and drive A of each neuron: C dx/dt = A - G x."""
        chemical, electrical = self.recurrent(x), self.electrical(x)
        return sensed[0] + chemical[0] + electrical[0], sensed[1] + chemical[1] + electrical[1]
'''

LIQUID_NO_FLOW = '''
    def flow(self, x, sensed):
        """Return conductance G and drive A of each neuron: C dx/dt = A - G x."""
        return sensed
'''

RATES_SENSE = '''
    def sense(self, u):
        """Return what the inputs contribute to the drive of each neuron."""
        return self.sensory(u)
'''

RATES_NO_SENSE = '''
    def sense(self, u):
        """Return what the inputs contribute to the drive of each neuron: none reaches any."""
        return 0.0
'''

RATES_FLOW = '''
    def flow(self, x, sensed):
        """Return conductance G = 1 and drive A of each neuron: C dx/dt = A - G x."""
        return 1.0, sensed + self.recurrent({activation}(x + self.bias))
'''

RATES_NO_FLOW = '''
    def flow(self, x, sensed):
        """Return conductance G = 1 and drive A of each neuron: C dx/dt = A - G x."""
        return 1.0, sensed
'''

STEPS = {
    "semi_implicit": '''
    def step(self, x, h, sensed):
        """Take a semi-implicit step of length h."""
        conductance, drive = self.flow(x, sensed)
        return x + h * (drive - conductance * x) / (self.capacitance + h * conductance)
''',
    "exponential": '''
    def step(self, x, h, sensed):
        """Take an exponential step of length h."""
        return relax(x, h, self.capacitance, *self.flow(x, sensed))
''',
    "exponential_midpoint": '''
    def step(self, x, h, sensed):
        """Take an exponential step of length h, with what half a step leads to."""
        middle = relax(x, h / 2, self.capacitance, *self.flow(x, sensed))
        return relax(x, h, self.capacitance, *self.flow(middle, sensed))
''',
}

RUNGE_KUTTA = '''
    def slope(self, x, sensed):
        """Return dx/dt."""
        conductance, drive = self.flow(x, sensed)
        return (drive - conductance * x) / self.capacitance

    def step(self, x, h, sensed):
        """Take a step of length h by the method of Runge and Kutta."""
{stages}
'''

WIRED_STEP = '''
    def step(self, x, u, elapsed):
        """Return the state after the elapsed time; layers follow one another from the inputs."""
        drive = {drive}
        both = np.concatenate([x, x], axis=-1)  # old states, and new ones layer by layer
        new = both[..., NEURONS:]
        for neurons, {sums} in self.layers:
            arriving = {arriving}
            maps = drive[..., neurons] + arriving
{own}            new[..., neurons] = closed_form(maps, elapsed{pure})
        return {kept}
'''

OWN = """            own = self.rate[neurons], self.asymptote[neurons]
"""

DENSE_STEP = '''
    def step(self, x, u, elapsed):
        """Return the state after the elapsed time."""
        y = np.concatenate([u, x], axis=-1)
{backbone}        maps = y.reshape(y.shape[:-1] + (-1, NEURONS))
        new = closed_form(maps, elapsed{pure})
        return {kept}
'''

DEEP = """        for weight, bias in self.layers[:-1]:
            y = activation(y @ weight.T + bias)
        weight, bias = self.layers[-1]
        y = y @ weight.T + bias
"""

SHALLOW = """        weight, bias = self.layers[0]
        y = y @ weight.T + bias
"""

MAIN = '''
def check():
    """Return the largest error over steps that were recorded from the trained circuit."""
    circuit = Circuit()
    outputs = np.array([circuit(row) for row in CHECK_INPUTS])
    return np.abs(outputs - CHECK_OUTPUTS).max() / CHECK_SCALE


def predict(lines):
    """Yield the outputs of each line of inputs; a first line without numbers is a header."""
    circuit = Circuit()
    for number, line in enumerate(lines):
        cells = line.replace(",", " ").split()
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            if number > 0:
                raise
            continue
        if row:
            yield {call}


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        for outputs in predict(sys.stdin):
            print(*outputs.tolist(), sep=",")
    else:
        error = check()
        print(f"largest error {{error:.2g}}, allowed {{CHECK_TOLERANCE:.2g}}")
        sys.exit(not error <= CHECK_TOLERANCE)
'''
