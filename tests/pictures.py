"""What tests ask of a picture of a wiring."""

from matplotlib.colors import to_rgb

BLUE, VERMILION, GREY, GOLD = (to_rgb(c) for c in ("#0072B2", "#D55E00", "#777777", "#FFD23F"))


def collection(ax, gid):
    (found,) = [c for c in ax.collections if c.get_gid() == gid]
    return found


def gids(ax):
    return {c.get_gid() for c in ax.collections}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]
