"""Small circuits of C. elegans from the literature, by classes of neurons.

Numbers of synapses and gap junctions are those of White et al. (1986), sums over the left and the
right cell of each class, as OpenWorm's ConnectomeToolbox (cect 0.3.5, dataset ``White_whole``)
tabulates them; those of the command neurons equal the revised wiring of Varshney et al. (2011).

References
----------
J. G. White, E. Southgate, J. N. Thomson, S. Brenner: The structure of the nervous system of the
nematode Caenorhabditis elegans. Phil. Trans. R. Soc. B 314 (1986).
L. R. Varshney, B. L. Chen, E. Paniagua, D. H. Hall, D. B. Chklovskii: Structural properties of the
Caenorhabditis elegans neuronal network. PLoS Comput. Biol. 7 (2011).
"""

from __future__ import annotations

from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.edges import Edges

_TRANSMITTERS = {
    "ALM": "glutamate",
    "AVM": "glutamate",
    "PLM": "glutamate",
    "PVD": "glutamate",
    "DVA": "acetylcholine",
    "PVC": "acetylcholine",
    "AVA": "acetylcholine",
    "AVB": "acetylcholine",
    "AVD": "acetylcholine",
    "AVE": "acetylcholine",
    "DA": "acetylcholine",
    "DB": "acetylcholine",
    "VA": "acetylcholine",
    "VB": "acetylcholine",
}

_TAP = """
PVD AVA -27 | PLM AVA -5 | PVC AVA +20 | AVB AVA -27 | AVD AVA +63 | PLM AVD -5 | PVC AVD +13
AVA AVD -4 | AVB AVD -3 | ALM AVD -1 | PVD PVC -30 | AVA PVC -28 | AVD PVC +1 | AVM PVC -9
ALM PVC -9 | DVA PVC -4 | PVC AVB +31 | AVA AVB -2 | AVD AVB +1 | AVM AVB -12 | DVA AVB -1
PVD DVA -3 | PLM DVA -5 | PVC DVA +4
"""

_COMMAND = """
AVA AVB 2 | AVA AVD 4 | AVA AVE 4 | AVA PVC 28 | AVB AVA 27 | AVB AVD 3 | AVB AVE 3
AVD AVA 63 | AVD AVB 1 | AVD PVC 1 | AVE AVA 42 | AVE AVD 1 | AVE PVC 1
PVC AVA 20 | PVC AVB 31 | PVC AVD 13 | PVC AVE 5
AVA DA 83 | AVA DB 10 | AVA VA 84 | AVB DA 1 | AVB VA 5 | AVB VB 1 | AVD DA 21 | AVD DB 1
AVD VA 7 | AVE DA 19 | AVE DB 1 | AVE VA 14 | PVC DA 4 | PVC DB 29 | PVC VB 19
"""

_COMMAND_GAPS = """
AVA PVC 10 | AVA DA 40 | AVA DB 5 | AVA VA 62 | AVA VB 9 | AVB DB 16 | AVB VA 2 | AVB VB 39
PVC VA 3 | PVC VB 3
"""


def tap_withdrawal() -> Connectome:
    """Return the tap-withdrawal circuit: nine classes of neurons between touch and reversal.

    Touch of the head (ALM, AVM) reverses the worm, by AVA; touch of the tail (PLM) moves it
    forward, by AVB; PVD and DVA join both. AVM reaches AVD, and PLM reaches PVC, by a gap junction,
    and their chemical synapses inhibit the other side. The 24 chemical connections, the two pairs
    of gap junctions and the signs are those of the circuit that Lechner et al. train, in which each
    connection is one synapse and AVA and AVB drive one motor neuron each.

    Simplified: a class stands for its left and right cell, connections of White et al. that this
    circuit leaves out are left out, and each class has one sign (AVD and PVC excite, all others
    inhibit), which no transmitter decides: such signs were predicted from the behaviour of animals
    without some of the cells (Wicks et al., for seven of the nine classes).

    References
    ----------
    S. R. Wicks, C. J. Roehrig, C. H. Rankin: A dynamic network simulation of the nematode tap
    withdrawal circuit. J. Neurosci. 16 (1996).
    M. Lechner, R. Hasani, M. Zimmer, T. A. Henzinger, R. Grosu: Designing worm-inspired neural
    networks for interpretable robotic control. ICRA (2019).
    E. Serrano-Saiz et al.: Modular control of glutamatergic neuronal identity in C. elegans by
    distinct homeodomain proteins. Cell 155 (2013); L. Pereira et al.: A cellular and regulatory map
    of the cholinergic nervous system of C. elegans. eLife 4 (2015), for transmitters.

    Examples
    --------
    >>> circuit = tap_withdrawal()
    >>> circuit
    Connectome(9 cells; 308 synapses in 24 connections, 4 gap junctions in 2 pairs)
    >>> circuit.synapses("PVC", "AVB"), circuit.gap_junctions("PLM", "PVC")
    (31, 2)
    """
    names = ["AVM", "ALM", "PLM", "PVD", "AVD", "DVA", "PVC", "AVA", "AVB"]
    return _circuit(names, _TAP, "AVM AVD 2 | PLM PVC 2", "the tap-withdrawal circuit")


def locomotion_command() -> Connectome:
    """Return the command circuit of locomotion: AVA, AVB, AVD, AVE, PVC and their motor neurons.

    AVA, AVD and AVE drive the motor neurons of backward movement (DA, VA); AVB, through gap
    junctions, and PVC those of forward movement (DB, VB). Simplified: a class stands for all its
    cells, synapses within and between classes of motor neurons and within a class are left out,
    and the last cells of the cord are missing in the reconstruction of 1986. All are cholinergic.
    No sign is given, see `with_polarity`; a synapse of acetylcholine may inhibit where a cell has
    the receptor for it.

    References
    ----------
    M. Chalfie, J. E. Sulston, J. G. White, E. Southgate, J. N. Thomson, S. Brenner: The neural
    circuit for touch sensitivity in Caenorhabditis elegans. J. Neurosci. 5 (1985).
    L. Pereira et al.: A cellular and regulatory map of the cholinergic nervous system of C.
    elegans. eLife 4 (2015), for transmitters.

    Examples
    --------
    >>> circuit = locomotion_command()
    >>> circuit.gap_junctions("AVB", "VB"), circuit.synapses("AVB", "VB")
    (39, 1)
    """
    names = ["AVA", "AVD", "AVE", "AVB", "PVC", "DA", "VA", "DB", "VB"]
    return _circuit(names, _COMMAND, _COMMAND_GAPS, "the command circuit of locomotion")


def _circuit(names: list[str], chemical: str, electrical: str, what: str) -> Connectome:
    index = {name: i for i, name in enumerate(names)}
    edges = []
    for table in (chemical, electrical):
        rows = [row.split() for row in table.replace("\n", "|").split("|") if row.strip()]
        ends = [(index[a], index[b]) for a, b, _ in rows]
        count = [abs(int(number)) for *_, number in rows]
        sign = [{"+": 1, "-": -1}.get(number[0], 0) for *_, number in rows]
        if table is electrical:
            ends = [(min(pair), max(pair)) for pair in ends]
        edges.append(Edges([j for j, _ in ends], [i for _, i in ends], count, sign))
    return Connectome(
        names,
        *edges,
        classes=names,
        transmitters=[_TRANSMITTERS[name] for name in names],
        notes=(f"{what}: counts of White et al. 1986, left and right summed",),
    )
