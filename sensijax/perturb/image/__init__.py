"""Image perturbations: float32 `[H, W, C]` in [0, 1], one example at a time."""

from sensijax.perturb.image._warp import Warp as Warp
from sensijax.perturb.image.aberration import ChromaticAberration as ChromaticAberration
from sensijax.perturb.image.aperture import ApertureBlur as ApertureBlur
from sensijax.perturb.image.blur import DefocusBlur as DefocusBlur
from sensijax.perturb.image.blur import GaussianBlur as GaussianBlur
from sensijax.perturb.image.bounded import Bounded as Bounded
from sensijax.perturb.image.bounded import BoundedScale as BoundedScale
from sensijax.perturb.image.bounded import Metric as Metric
from sensijax.perturb.image.bounded import bounded as bounded
from sensijax.perturb.image.colour import Brightness as Brightness
from sensijax.perturb.image.colour import Contrast as Contrast
from sensijax.perturb.image.colour import Saturate as Saturate
from sensijax.perturb.image.digital import JPEG as JPEG
from sensijax.perturb.image.digital import Pixelate as Pixelate
from sensijax.perturb.image.elastic import Elastic as Elastic
from sensijax.perturb.image.exposure import Exposure as Exposure
from sensijax.perturb.image.exposure import Gamma as Gamma
from sensijax.perturb.image.exposure import LowLight as LowLight
from sensijax.perturb.image.exposure import Vignette as Vignette
from sensijax.perturb.image.fields import BlueNoise as BlueNoise
from sensijax.perturb.image.fields import PerlinNoise as PerlinNoise
from sensijax.perturb.image.fields import PlasmaNoise as PlasmaNoise
from sensijax.perturb.image.fields import Sparkles as Sparkles
from sensijax.perturb.image.frost import Frost as Frost
from sensijax.perturb.image.frost import frost_overlay as frost_overlay
from sensijax.perturb.image.geometry import Rotation as Rotation
from sensijax.perturb.image.geometry import Scale as Scale
from sensijax.perturb.image.geometry import Translation as Translation
from sensijax.perturb.image.glass import GlassBlur as GlassBlur
from sensijax.perturb.image.lens import CausticRefraction as CausticRefraction
from sensijax.perturb.image.lens import LensDistortion as LensDistortion
from sensijax.perturb.image.lens import RollingShutter as RollingShutter
from sensijax.perturb.image.motion import MotionBlur as MotionBlur
from sensijax.perturb.image.motion import ZoomBlur as ZoomBlur
from sensijax.perturb.image.noise import GaussianNoise as GaussianNoise
from sensijax.perturb.image.noise import ImpulseNoise as ImpulseNoise
from sensijax.perturb.image.noise import ShotNoise as ShotNoise
from sensijax.perturb.image.noise import SpeckleNoise as SpeckleNoise
from sensijax.perturb.image.occlusion import CheckerboardCutout as CheckerboardCutout
from sensijax.perturb.image.occlusion import Occlusion as Occlusion
from sensijax.perturb.image.occlusion import Patches as Patches
from sensijax.perturb.image.perceptual import Window as Window
from sensijax.perturb.image.perceptual import l2_distance as l2_distance
from sensijax.perturb.image.perceptual import linf_distance as linf_distance
from sensijax.perturb.image.perceptual import ms_ssim as ms_ssim
from sensijax.perturb.image.perceptual import psnr as psnr
from sensijax.perturb.image.perceptual import ssim as ssim
from sensijax.perturb.image.projection import CropResize as CropResize
from sensijax.perturb.image.projection import Perspective as Perspective
from sensijax.perturb.image.projection import Shear as Shear
from sensijax.perturb.image.quantisation import Posterize as Posterize
from sensijax.perturb.image.resize import BICUBIC as BICUBIC
from sensijax.perturb.image.resize import BILINEAR as BILINEAR
from sensijax.perturb.image.resize import NEAREST as NEAREST
from sensijax.perturb.image.resize import Kernel as Kernel
from sensijax.perturb.image.resize import Resize as Resize
from sensijax.perturb.image.sensor import Banding as Banding
from sensijax.perturb.image.sensor import Demosaic as Demosaic
from sensijax.perturb.image.sensor import ISONoise as ISONoise
from sensijax.perturb.image.sharpening import Sharpening as Sharpening
from sensijax.perturb.image.snow import Snow as Snow
from sensijax.perturb.image.spatter import Spatter as Spatter
from sensijax.perturb.image.weather import Fog as Fog
from sensijax.perturb.image.weather import plasma as plasma
from sensijax.perturb.image.webp import WEBP as WEBP
from sensijax.perturb.image.white_balance import Hue as Hue
from sensijax.perturb.image.white_balance import WhiteBalance as WhiteBalance

IMAGENET_C = (
    GaussianNoise,
    ShotNoise,
    ImpulseNoise,
    DefocusBlur,
    GlassBlur,
    MotionBlur,
    ZoomBlur,
    Snow,
    Frost,
    Fog,
    Brightness,
    Contrast,
    Elastic,
    Pixelate,
    JPEG,
    SpeckleNoise,
    GaussianBlur,
    Spatter,
    Saturate,
)

ALL = (
    *IMAGENET_C,
    Rotation,
    Translation,
    Scale,
    Shear,
    Perspective,
    CropResize,
    LensDistortion,
    RollingShutter,
    CausticRefraction,
    Occlusion,
    Exposure,
    Gamma,
    Vignette,
    LowLight,
    WhiteBalance,
    Hue,
    ISONoise,
    Demosaic,
    Banding,
    Posterize,
    BlueNoise,
    PlasmaNoise,
    PerlinNoise,
    Sparkles,
    ApertureBlur,
    ChromaticAberration,
    Resize,
    Sharpening,
    CheckerboardCutout,
    Patches,
    WEBP,
)
