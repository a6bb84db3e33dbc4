"""Packaging of supervisortw; the metadata lives here, the tools' settings in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "supervisortw" / "__init__.py").read_text(encoding="utf-8")

setup(
    name="supervisortw",
    version=re.findall(r'^__version__ = "(.+)"$', INIT, re.MULTILINE)[0],
    description="A process supervisor on Twisted: programs, restarts, and a prompt to steer them",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license="MIT",
    python_requires=">=3.10",
    # twisted.plugins has no __init__.py: the drop-in is installed beside Twisted's own.
    packages=[*find_packages(include=["supervisortw", "supervisortw.*"]), "twisted.plugins"],
    package_data={"supervisortw.config": ["*.xml", "*.conf"], "supervisortw": ["py.typed"]},
    install_requires=[
        "Twisted[tls]>=26.10",
        "pyOpenSSL>=24.3",
        "service-identity>=24.1",
        "zope.interface>=6",
        "ZConfig>=4.1",
        "prompt_toolkit>=3.0.47",
    ],
    extras_require={
        "fast": ["gmpy2>=2.2"],  # logins by password in a fifth of the time
        "test": [
            "gmpy2>=2.2",
            "pytest>=8.2",
            "pytest-twisted>=1.14.3",
            "hypothesis>=6.100",
            "flup>=1.0.3",
            "ruff>=0.12",
            "mypy>=1.15",
            "mypy-zope>=1.0.11",
        ],
    },
    entry_points={
        "console_scripts": [
            "supervisord = supervisortw.programs:supervisord",
            "supervisorctl = supervisortw.programs:supervisorctl",
            "pid-proxy = supervisortw.tools.pidproxy:main",
        ],
    },
    zip_safe=False,
)
