"""Image perturbations: float32 `[H, W, C]` in [0, 1], one example at a time."""

from sensijax.perturb.image.blur import DefocusBlur as DefocusBlur
from sensijax.perturb.image.blur import GaussianBlur as GaussianBlur
from sensijax.perturb.image.colour import Brightness as Brightness
from sensijax.perturb.image.colour import Contrast as Contrast
from sensijax.perturb.image.colour import Saturate as Saturate
from sensijax.perturb.image.digital import JPEG as JPEG
from sensijax.perturb.image.digital import Pixelate as Pixelate
from sensijax.perturb.image.geometry import Rotation as Rotation
from sensijax.perturb.image.geometry import Scale as Scale
from sensijax.perturb.image.geometry import Translation as Translation
from sensijax.perturb.image.motion import MotionBlur as MotionBlur
from sensijax.perturb.image.motion import ZoomBlur as ZoomBlur
from sensijax.perturb.image.noise import GaussianNoise as GaussianNoise
from sensijax.perturb.image.noise import ImpulseNoise as ImpulseNoise
from sensijax.perturb.image.noise import ShotNoise as ShotNoise
from sensijax.perturb.image.noise import SpeckleNoise as SpeckleNoise
from sensijax.perturb.image.occlusion import Occlusion as Occlusion
from sensijax.perturb.image.weather import Fog as Fog
from sensijax.perturb.image.weather import plasma as plasma

ALL = (
    GaussianNoise,
    ShotNoise,
    ImpulseNoise,
    SpeckleNoise,
    GaussianBlur,
    DefocusBlur,
    MotionBlur,
    ZoomBlur,
    Fog,
    Brightness,
    Contrast,
    Saturate,
    Pixelate,
    JPEG,
    Rotation,
    Translation,
    Scale,
    Occlusion,
)
