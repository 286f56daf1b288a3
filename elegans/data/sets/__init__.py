"""Small data sets for classification, each as one value with `split` and `tensors`.

Tables come from scikit-learn and palmerpenguins (extra ``lab``), pictures from idx files that the
user has; `banknote_like` is synthetic.
"""

from elegans.data.sets.classification_set import ClassificationSet, standardise_sets
from elegans.data.sets.image_sets import DATA_VARIABLE, fashion_mnist, has_files, mnist
from elegans.data.sets.penguin_set import penguins
from elegans.data.sets.scikit_sets import cancer, digits, iris
from elegans.data.sets.synthetic_sets import banknote_like

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
    "standardise_sets",
]
