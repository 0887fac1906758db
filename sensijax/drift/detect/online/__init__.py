"""Online detectors: a state that steps through a stream, for one stream or thousands at once."""

from sensijax.drift.detect.online._calibrate import Calibration as Calibration
from sensijax.drift.detect.online._calibrate import calibrate as calibrate
from sensijax.drift.detect.online._detector import Detector as Detector
from sensijax.drift.detect.online._detector import Info as Info
from sensijax.drift.detect.online._evaluate import Evaluation as Evaluation
from sensijax.drift.detect.online._evaluate import evaluate as evaluate
from sensijax.drift.detect.online._run import Alarms as Alarms
from sensijax.drift.detect.online._run import run as run
from sensijax.drift.detect.online.adwin import ADWIN as ADWIN
from sensijax.drift.detect.online.adwin import epsilon_cut as epsilon_cut
from sensijax.drift.detect.online.cusum import CUSUM as CUSUM
from sensijax.drift.detect.online.ddm import DDM as DDM
from sensijax.drift.detect.online.ddm import EDDM as EDDM
from sensijax.drift.detect.online.hddm import HDDM_A as HDDM_A
from sensijax.drift.detect.online.hddm import HDDM_W as HDDM_W
from sensijax.drift.detect.online.kernel_window import OnlineMMD as OnlineMMD
from sensijax.drift.detect.online.kswin import KSWIN as KSWIN
from sensijax.drift.detect.online.page_hinkley import PageHinkley as PageHinkley
