"""Classifiers, autoencoders, and other people's models as classifiers."""

from hare_jax.models.blackbox import black_box as black_box
from hare_jax.models.callback import reason as reason
from hare_jax.models.ensembles import CHANGES as CHANGES
from hare_jax.models.ensembles import Ensemble as Ensemble
from hare_jax.models.ensembles import ensemble as ensemble
from hare_jax.models.ensembles import fit_many as fit_many
from hare_jax.models.ensembles import member_logits as member_logits
from hare_jax.models.network import Layer as Layer
from hare_jax.models.network import Params as Params
from hare_jax.models.network import from_layers as from_layers
from hare_jax.models.network import to_layers as to_layers
from hare_jax.models.perceptron import Classifier as Classifier
from hare_jax.models.perceptron import accuracy as accuracy
from hare_jax.models.perceptron import balanced_accuracy as balanced_accuracy
from hare_jax.models.perceptron import check_labelled as check_labelled
from hare_jax.models.perceptron import classifier as classifier
from hare_jax.models.perceptron import fit as fit
from hare_jax.models.perceptron import init as init
from hare_jax.models.perceptron import logit as logit
from hare_jax.models.recipe import PAPER as PAPER
from hare_jax.models.recipe import Training as Training
from hare_jax.models.recipe import balanced as balanced
from hare_jax.models.wrapping.wrap import Wrapped as Wrapped
from hare_jax.models.wrapping.wrap import wrap as wrap
