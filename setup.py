"""The package videogvt and its extras. Tool settings live in pyproject.toml.

Lower bounds are versions that were tested; upper bounds are the next release that may break. The exact
set that was tested together stands in constraints.txt: ``pip install -e . -c constraints.txt`` repeats it.
"""

import pathlib
import platform
import re
import sys

from setuptools import find_namespace_packages, setup

if sys.platform == "win32" or (sys.platform == "darwin" and platform.machine() != "arm64"):
    sys.exit(
        f"videogvt: found {platform.system()} on {platform.machine()}, where array-record and grain publish no wheels. "
        "Use Linux (tested: x86-64), an Apple-silicon Mac, or WSL 2 on Windows."
    )

root = pathlib.Path(__file__).parent
version = re.search(r'__version__ = "(.+?)"', (root / "videogvt" / "__init__.py").read_text()).group(1)

jax = "jax>=0.10.0,<0.11"
base = [
    "absl-py>=2.1,<3",
    "array-record>=0.8.6,<0.9",
    "dm-pix>=0.4.5,<0.5",
    "etils[epath]>=1.15,<2",
    "filterpy>=2.0,<3",
    "flax>=0.12.7,<0.13",
    "grain>=0.2.18,<0.3",
    "importlib-resources>=6.4",  # tensorflow-datasets needs it for builders in a folder and does not declare it
    jax,
    "matplotlib>=3.10,<4",
    "ml-collections>=1.1,<2",
    "msgpack>=1.1,<2",
    "numpy>=2.2,<3",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "pillow>=11,<14",
    "protobuf>=6.31.1,<7",  # tensorflow-metadata is generated with 6.31.1 and does not declare it
    "scikit-learn>=1.6,<2",
    "scipy>=1.15,<2",
    "tensorboardX>=2.6.2,<3",
    "tensorflow-datasets>=4.9.10,<4.10",
    "tqdm>=4.66,<5",
]
extras = {
    "cuda": ["jax[cuda13]>=0.10.0,<0.11"],
    "tpu": ["jax[tpu]>=0.10.0,<0.11"],
    "tf": ["tensorflow-cpu>=2.21,<2.22; platform_system == 'Linux' and platform_machine == 'x86_64'",
           "tensorflow>=2.21,<2.22; platform_system != 'Linux' or platform_machine != 'x86_64'",
           "mlcroissant>=1.1,<2"],
    "beam": ["apache-beam>=2.77,<2.78"],
    "video": ["av>=18,<19"],
    "cloud": ["kubernetes-validate>=1.31", "pyyaml>=6"],
    "weights": ["safetensors>=0.6,<1"],
    "onnx": ["onnx>=1.20.1,<2", "onnx-ir>=0.2.1,<2", "onnxruntime>=1.24.1,<2"],  # and jax2onnx, see docs/export.md
    "photographs": ["scikit-image>=0.26,<0.27"],
    "bench": ["magvit2-pytorch==0.5.1", "torch>=2.8,<3"],
}
extras["test"] = sorted({
    "build>=1.2,<2", "import-linter>=2.5,<3", "pytest>=9,<10", "pytest-xdist>=3.8,<4", "ruff>=0.17,<0.18",
    "setuptools>=77", "wheel>=0.45",
    *extras["tf"], *extras["beam"], *extras["video"], *extras["weights"], *extras["cloud"],
    *extras["photographs"],
})

setup(
    name="videogvt",
    version=version,
    description="MAGVIT in JAX and Flax: a 3-D VQ video tokenizer, proved on 3-D trajectory videos",
    long_description=(root / "README.md").read_text() if (root / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["videogvt*"]),
    package_data={"videogvt": ["**/*.json", "**/*.md", "**/*.msgpack", "**/*.npz"]},
    install_requires=base,
    extras_require=extras,
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
