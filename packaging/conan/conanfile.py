"""Conan 2 recipe of this tree: conan create packaging/conan"""
import os
import pathlib
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy

required_conan_version = ">=2.0"


class Smallmind(ConanFile):
    name = "smallmind"
    description = "Language models inside your program"
    license = "MIT"
    topics = ("llm", "gguf", "inference", "training")
    settings = "os", "arch", "compiler", "build_type"
    package_type = "library"
    # system_xxhash: xxhash.h (nothing else is needed) of the system instead of the package
    options = {"shared": [True, False], "train": [True, False], "system_xxhash": [True, False]}
    default_options = {"shared": False, "train": True, "system_xxhash": False}
    languages = "C"
    implements = ["auto_shared_fpic"]

    def set_version(self):
        types = pathlib.Path(self.recipe_folder, "../../include/smallmind/types.h").read_text()
        numbers = re.findall(r"^#define SM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", types, re.MULTILINE)
        self.version = ".".join(numbers)

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "../..")
        for pattern in ("CMakeLists.txt", "LICENSE", "LICENSES/*", "cmake/*", "include/*", "lib/*",
                        "kernels/*", "bindings/cpp/*.hpp"):
            copy(self, pattern, root, self.export_sources_folder)

    def requirements(self):
        if not self.options.system_xxhash:
            self.requires("xxhash/[>=0.8 <1]", visible=False)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["SMALLMIND_TRAIN"] = bool(self.options.train)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE*", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "LICENSES/*", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()

    def package_info(self):
        self.cpp_info.libs = ["smallmind"]
        self.cpp_info.set_property("cmake_file_name", "smallmind")
        self.cpp_info.set_property("cmake_target_name", "smallmind::smallmind")
        self.cpp_info.set_property("pkg_config_name", "smallmind")
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["m", "pthread"]
