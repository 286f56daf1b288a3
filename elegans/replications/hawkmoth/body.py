"""The body of a hawkmoth as two rigid ellipsoids joined by a hinge, in CGS units."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from elegans.errors import InputError

_POSITIVE = (
    "head_half_width",
    "head_half_length",
    "abdomen_half_width",
    "abdomen_half_length",
    "head_density",
    "abdomen_density",
    "head_arm",
    "abdomen_arm",
    "scale",
)
_NOT_NEGATIVE = ("wing_arm", "stiffness", "damping", "gravity", "air_density", "air_viscosity")


@dataclass(frozen=True)
class Moth:
    r"""A hawkmoth (Manduca sexta) of two ellipsoids: head with thorax, and abdomen.

    The hinge joins both; the centre of each lies on its own long axis. Masses and moments of
    inertia about the centres follow from the lengths,

    .. math::
        m = \varrho \, \tfrac{4}{3} \pi b^2 a, \qquad I = \tfrac{1}{5} m \, (a^2 + b^2)

    Parameters
    ----------
    head_half_width, head_half_length
        Semi-axes b and a of head and thorax, in cm.
    abdomen_half_width, abdomen_half_length
        Semi-axes of the abdomen, in cm.
    head_density, abdomen_density
        In g/cm³.
    head_arm, abdomen_arm
        L1 and L2, from the hinge to the centre of each body, in cm.
    wing_arm
        L3, from the hinge along the thorax to the point where the force of the wings acts, in cm.
    stiffness
        K of the spring in the hinge, in dyn cm/rad.
    damping
        c of the damper in the hinge, in dyn cm s/rad.
    rest_angle
        β: the spring is at rest where φ - θ = π + β, in rad.
    gravity
        g, in cm/s².
    air_density
        In g/cm³.
    air_viscosity
        In poise; 0 only where the density of the air is 0 too: a moth in vacuum.
    scale
        s multiplies all lengths above; densities, spring and damper stay. Masses grow as s³ and
        moments of inertia as s⁵.

    Raises
    ------
    InputError
        When a number is not finite or has the wrong sign.

    Examples
    --------
    >>> moth = Moth()
    >>> round(moth.m1, 4), round(moth.m2, 4), round(moth.I1, 4), round(moth.I2, 4)
    (0.8482, 1.7907, 0.1798, 1.4943)
    >>> round(Moth(scale=2).m1 / moth.m1, 6)
    8.0
    """

    head_half_width: float = 0.5
    head_half_length: float = 0.9
    abdomen_half_width: float = 0.75
    abdomen_half_length: float = 1.9
    head_density: float = 0.9
    abdomen_density: float = 0.4
    head_arm: float = 0.9
    abdomen_arm: float = 1.9
    wing_arm: float = 0.75
    stiffness: float = 23_000.0
    damping: float = 14_075.8
    rest_angle: float = 0.0
    gravity: float = 980.0
    air_density: float = 0.00118
    air_viscosity: float = 1.86e-4
    scale: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(
                    f"got {field.name} = {value!r}, expected a finite number; leave it out for "
                    f"{field.default}"
                )
            if field.name in _POSITIVE and value <= 0:
                raise InputError(
                    f"got {field.name} = {value}, expected more than 0; leave it out for "
                    f"{field.default}"
                )
            if field.name in _NOT_NEGATIVE and value < 0:
                raise InputError(
                    f"got {field.name} = {value}, expected at least 0; leave it out for "
                    f"{field.default}"
                )
            object.__setattr__(self, field.name, float(value))
        if self.air_density > 0 and self.air_viscosity == 0:
            raise InputError(
                f"got air_viscosity = 0 with air_density = {self.air_density}, expected more than "
                "0, because Reynolds numbers divide by it; make both 0 for vacuum"
            )

    @property
    def b1(self) -> float:
        """Half width of head and thorax at this scale, in cm."""
        return self.scale * self.head_half_width

    @property
    def b2(self) -> float:
        """Half width of the abdomen at this scale, in cm."""
        return self.scale * self.abdomen_half_width

    @property
    def L1(self) -> float:  # noqa: N802
        """From the hinge to the centre of head and thorax at this scale, in cm."""
        return self.scale * self.head_arm

    @property
    def L2(self) -> float:  # noqa: N802
        """From the hinge to the centre of the abdomen at this scale, in cm."""
        return self.scale * self.abdomen_arm

    @property
    def L3(self) -> float:  # noqa: N802
        """From the hinge to the point where the force acts at this scale, in cm."""
        return self.scale * self.wing_arm

    @property
    def m1(self) -> float:
        """Mass of head and thorax, in g."""
        a = self.scale * self.head_half_length
        return self.head_density * 4 / 3 * math.pi * self.b1**2 * a

    @property
    def m2(self) -> float:
        """Mass of the abdomen, in g."""
        a = self.scale * self.abdomen_half_length
        return self.abdomen_density * 4 / 3 * math.pi * self.b2**2 * a

    @property
    def I1(self) -> float:  # noqa: N802
        """Moment of inertia of head and thorax about its centre, in g cm²."""
        a = self.scale * self.head_half_length
        return self.m1 * (a**2 + self.b1**2) / 5

    @property
    def I2(self) -> float:  # noqa: N802
        """Moment of inertia of the abdomen about its centre, in g cm²."""
        a = self.scale * self.abdomen_half_length
        return self.m2 * (a**2 + self.b2**2) / 5

    @property
    def mass(self) -> float:
        """The mass m of the whole moth, in g."""
        return self.m1 + self.m2
