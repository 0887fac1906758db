"""Detectors of distribution shift whose error rates are what they say."""

from sensijax.drift.detect._detection import Detection as Detection
from sensijax.drift.detect._detection import Features as Features
from sensijax.drift.detect._detection import benjamini_hochberg as benjamini_hochberg
from sensijax.drift.detect.aggregated import mmd_aggregated as mmd_aggregated
from sensijax.drift.detect.binned import jensen_shannon as jensen_shannon
from sensijax.drift.detect.binned import psi as psi
from sensijax.drift.detect.binned import stability_index as stability_index
from sensijax.drift.detect.chi_squared import chi2 as chi2
from sensijax.drift.detect.chi_squared import chi2_counts as chi2_counts
from sensijax.drift.detect.classifier_test import MLP as MLP
from sensijax.drift.detect.classifier_test import Logistic as Logistic
from sensijax.drift.detect.classifier_test import classifier as classifier
from sensijax.drift.detect.density_difference import lsdd as lsdd
from sensijax.drift.detect.kernel import energy as energy
from sensijax.drift.detect.kernel import mmd as mmd
from sensijax.drift.detect.kolmogorov_smirnov import ks as ks
from sensijax.drift.detect.layer import representation as representation
from sensijax.drift.detect.mises import cramer_von_mises as cramer_von_mises
from sensijax.drift.detect.transport import wasserstein as wasserstein
