"""Small data sets for classification, each as one value with `split` and `tensors`.

Tables come from scikit-learn and palmerpenguins (extra ``lab``), pictures from idx files that the
user has; `banknote_like` is synthetic.
"""

from elegans.replications.sets.classification_set import ClassificationSet, standardise_sets
from elegans.replications.sets.idx_file import read_idx
from elegans.replications.sets.image_sets import DATA_VARIABLE, fashion_mnist, has_files, mnist
from elegans.replications.sets.penguin_set import penguins
from elegans.replications.sets.scikit_sets import cancer, digits, iris
from elegans.replications.sets.synthetic_sets import banknote_like

__all__ = [
    "DATA_VARIABLE",
    "ClassificationSet",
    "banknote_like",
    "cancer",
    "digits",
    "fashion_mnist",
    "has_files",
    "iris",
    "mnist",
    "penguins",
    "read_idx",
    "standardise_sets",
]
